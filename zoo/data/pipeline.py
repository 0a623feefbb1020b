"""From a `Source` to the batches that `model.fit` gets.

Training: order and augmentation of an epoch are functions of (seed, epoch), so epoch 7 is the same epoch 7 in every
run and after every resume. In a run, one iterator gives all epochs that are left, so that the next one is read while
the last is validated and saved; in `zoo.dataset`, every pass is the next epoch.
"""

import typing

from zoo.data._tensorflow import tensorflow
from zoo.errors import InputError

CACHE_BYTES = 1 << 30
"""Splits that need no more than this, as the reader leaves them, are held in memory."""

WINDOW = 10_000
"""Examples shuffled together where a split can be neither held in memory nor read at random."""


LIGHT_BYTES = 1 << 20
"""Batches up to this, from memory, are made by one thread: more cost a small step more than they bring
(`benchmarks/overhead.py`)."""


class Preparation(typing.Protocol):
    """What a task tells the pipeline: how its examples are read, and how a batch becomes tensors."""

    def read(self, example): ...  # {feature: raw value} -> a tuple of tensors of fixed shape, for the cache

    def finish(self, batch): ...  # such a tuple, batched -> (inputs, targets), for evaluation

    def finish_training(self, batch, seed): ...  # the same with augmentation: (inputs, targets[, weights])


def steps_per_epoch(source, batch_size):
    """How many training batches an epoch has; all are of one size, and those left over are in another epoch's."""
    count = source.sizes["train"]
    return count if source.ready else count // min(batch_size, count)


def training(source, preparation, *, batch_size, seed, epochs=None):
    """Training batches, a `tf.data.Dataset`.

    Args:
        epochs: the range of epochs that it gives one after the other; None: every pass over it is the next epoch.
    """
    tf = tensorflow()
    if source.ready:
        return source.examples("train")
    if epochs is None:
        with tf.device("CPU:0"):
            last = tf.Variable(-1, dtype=tf.int64, trainable=False, name="epoch")
        numbers = tf.data.Dataset.from_tensors(0).map(lambda _: last.assign_add(1))
    else:
        numbers = tf.data.Dataset.range(epochs.start, epochs.stop)
    batch_size = min(batch_size, source.sizes["train"])
    held = _held(source, "train", preparation)
    values_of = _values_of(source, preparation, held)
    if values_of is not None:
        drawn = numbers.flat_map(lambda epoch: _rows(source, batch_size, seed, epoch))
    else:
        drawn = numbers.flat_map(lambda epoch: _windows(source, preparation, batch_size, seed, epoch))

    def finish(epoch, step, drawn):
        values = drawn if values_of is None else values_of(drawn)
        return preparation.finish_training(values, _seed(seed, epoch, step))

    if held is not None and _size(value[0] for value in held) * batch_size <= LIGHT_BYTES:
        options = tf.data.Options()
        options.autotune.enabled = False
        data = drawn.map(finish).prefetch(8).with_options(options)
    else:
        data = drawn.map(finish, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
    total = steps_per_epoch(source, batch_size) * (1 if epochs is None else len(epochs))
    return data.apply(tf.data.experimental.assert_cardinality(total))


def _rows(source, batch_size, seed, epoch):
    """(epoch, step, indices of a batch), in the order of the epoch."""
    tf = tensorflow()
    count, steps = source.sizes["train"], steps_per_epoch(source, batch_size)
    order = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), seed=[seed, epoch])
    order = tf.reshape(order[: steps * batch_size], (steps, batch_size))
    return tf.data.Dataset.from_tensor_slices((tf.fill([steps], epoch), tf.range(steps, dtype=tf.int64), order))


def _windows(source, preparation, batch_size, seed, epoch):
    """(epoch, step, a batch as `read` leaves it) of a stream that is shuffled a window at a time."""
    tf = tensorflow()

    def shuffled(number, values):
        rows = tf.range(tf.shape(values[0], tf.int64)[0])
        order = tf.random.experimental.stateless_shuffle(rows, seed=_seed(seed, epoch, number))
        return tf.data.Dataset.from_tensor_slices(tuple(tf.gather(value, order) for value in values))

    windows = source.examples("train").map(preparation.read, tf.data.AUTOTUNE, deterministic=True).batch(WINDOW)
    batches = windows.enumerate().flat_map(lambda number, values: shuffled(number, values))
    batches = batches.batch(batch_size, drop_remainder=True).enumerate()
    return batches.map(lambda step, values: (epoch, step, values))


def _values_of(source, preparation, held):
    """A function from indices to a batch of what `read` returns; None where examples come as a stream only."""
    tf = tensorflow()
    if held is not None:
        return lambda rows: tuple(tf.gather(value, rows) for value in held)
    fetch = source.fetcher("train")
    if fetch is None:
        return None
    spec = source.examples("train").map(preparation.read).element_spec
    return lambda rows: tf.map_fn(lambda row: preparation.read(fetch(row)), rows, fn_output_signature=spec)


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


def _held(source, split, preparation):
    """The split read whole, as a tuple of tensors in memory; None where it would be too large."""
    tf = tensorflow()
    read = source.examples(split).map(preparation.read, tf.data.AUTOTUNE, deterministic=True)
    if _size(read.element_spec) * source.sizes[split] > CACHE_BYTES:
        return None
    with tf.device("CPU:0"), source.reading():
        for values in read.batch(source.sizes[split]):
            return values
    raise InputError(f"dataset={source.name}: its {split} split is empty.")


def _size(tensors):
    """Bytes of tensors, or of their specs."""
    return sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)
