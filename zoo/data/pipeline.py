"""From a `Source` to the batches that `model.fit` gets.

Training: order and augmentation of an epoch are functions of (seed, epoch), so epoch 7 is the same epoch 7 in every
run and after every resume. The epoch is a variable that the pipeline reads when an iterator starts: a callback sets
it (`zoo.training`), or every pass advances it by one (`zoo.dataset`).
"""

import dataclasses
import typing

from zoo.data._tensorflow import tensorflow
from zoo.errors import InputError

CACHE_BYTES = 1 << 30
"""Splits that need no more than this, as the reader leaves them, are held in memory."""

WINDOW = 10_000
"""Examples shuffled together where a split can be neither held in memory nor read at random."""


class Preparation(typing.Protocol):
    """What a task tells the pipeline: how its examples are read, and how a batch becomes tensors."""

    def read(self, example): ...  # {feature: raw value} -> a tuple of tensors of fixed shape, for the cache

    def finish(self, batch): ...  # such a tuple, batched -> (inputs, targets), for evaluation

    def finish_training(self, batch, seed): ...  # the same with augmentation: (inputs, targets[, weights])


@dataclasses.dataclass(frozen=True)
class Training:
    """Training batches. `epoch` is the variable that names the epoch the next iterator starts."""

    data: typing.Any
    epoch: typing.Any
    steps: int


def training(source, preparation, *, batch_size, seed, advance):
    """The `Training` batches of `source`: all of one size (those left over take part in another epoch)."""
    tf = tensorflow()
    if source.ready:
        return Training(source.examples("train"), None, source.sizes["train"])
    count = source.sizes["train"]
    batch_size = min(batch_size, count)
    steps = count // batch_size
    with tf.device("CPU:0"):
        epoch = tf.Variable(-1 if advance else 0, dtype=tf.int64, trainable=False, name="epoch")
    fetch = _fetcher(source, "train", preparation)
    start = tf.data.Dataset.from_tensors(0)
    if fetch is not None:

        def indices(_):
            now = epoch.assign_add(1) if advance else epoch.read_value()
            order = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), seed=[seed, now])
            order = tf.reshape(order[: steps * batch_size], (steps, batch_size))
            return tf.data.Dataset.from_tensor_slices((order, tf.range(steps), tf.fill([steps], now)))

        def batch(indices, step, now):
            return preparation.finish_training(fetch(indices), _seed(seed, now, step))

        data = start.flat_map(indices).map(batch, tf.data.AUTOTUNE, deterministic=True)
    else:
        examples = source.examples("train").map(preparation.read, tf.data.AUTOTUNE, deterministic=True)
        windows = examples.batch(WINDOW).enumerate()

        def shuffled(_):
            now = epoch.assign_add(1) if advance else epoch.read_value()

            def window(number, values):
                size = tf.shape(values[0], tf.int64)[0]
                order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=_seed(seed, now, number))
                return tf.data.Dataset.from_tensor_slices(tuple(tf.gather(value, order) for value in values))

            batches = windows.flat_map(window).batch(batch_size, drop_remainder=True).enumerate()
            return batches.map(lambda step, values: (step, now, *values))

        def batch(step, now, *values):
            return preparation.finish_training(values, _seed(seed, now, step))

        data = start.flat_map(shuffled).map(batch, tf.data.AUTOTUNE, deterministic=True)
    data = data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)
    return Training(data, epoch, steps)


def evaluation(source, split, preparation, *, batch_size):
    """A split in its own order, whole, without augmentation; None where the source has no such split."""
    tf = tensorflow()
    if split not in source.sizes:
        return None
    if source.ready:
        return source.examples(split)
    held = _held(source, split, preparation)
    if held is not None:
        data = tf.data.Dataset.from_tensor_slices(held).batch(batch_size)
    else:
        read = source.examples(split).map(preparation.read, tf.data.AUTOTUNE, deterministic=True)
        data = read.batch(batch_size)
    data = data.map(lambda *values: preparation.finish(values), tf.data.AUTOTUNE, deterministic=True)
    return data.prefetch(tf.data.AUTOTUNE)


def _seed(seed, epoch, step):
    """The integer pair of (seed, epoch, step)."""
    tf = tensorflow()
    pair = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.experimental.stateless_fold_in(pair, tf.cast(step, tf.int64))


def _fetcher(source, split, preparation):
    """A function from a batch of indices to a batch of what `read` returns; None where only streaming is possible."""
    tf = tensorflow()
    held = _held(source, split, preparation)
    if held is not None:
        return lambda indices: tuple(tf.gather(value, indices) for value in held)
    fetch = source.fetcher(split)
    if fetch is None:
        return None
    spec = source.examples(split).map(preparation.read).element_spec
    return lambda indices: tf.map_fn(lambda one: preparation.read(fetch(one)), indices, fn_output_signature=spec)


def _held(source, split, preparation):
    """The split read whole, as a tuple of tensors in memory; None where it would be too large."""
    tf = tensorflow()
    read = source.examples(split).map(preparation.read, tf.data.AUTOTUNE, deterministic=True)
    size = sum(spec.shape.num_elements() * spec.dtype.size for spec in read.element_spec)
    if size * source.sizes[split] > CACHE_BYTES:
        return None
    with tf.device("CPU:0"), source.reading():
        for values in read.batch(source.sizes[split]):
            return values
    raise InputError(f"dataset={source.name}: its {split} split is empty.")
