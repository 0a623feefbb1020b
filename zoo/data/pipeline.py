"""From a `Source` to the batches that `model.fit` gets.

Training: order and augmentation of an epoch are functions of (seed, epoch), so epoch 7 is the same epoch 7 in every
run and after every resume. In a run, one iterator gives all epochs that are left, so that the next one is read while
the last is validated and saved; in `zoo.dataset`, every pass is the next epoch.
"""

import typing
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from zoo.data._tensorflow import Tensor, plain, tensorflow
from zoo.data.sequences import SequencePreparation
from zoo.data.windows import seed_pair
from zoo.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf

    from zoo.data.source import Source

CACHE_BYTES = 1 << 30
"""Splits that need no more than this, as the reader leaves them, are held in memory."""

WINDOW = 10_000
"""Examples shuffled together, at most, where a split can be neither held in memory nor read at random."""

WINDOW_BYTES = 1 << 29
"""And no more of them than need this."""


LIGHT_BYTES = 1 << 20
"""Batches up to this, from memory, are made by one thread: more cost a small step more than they bring
(`benchmarks/overhead.py`)."""


class Preparation(typing.Protocol):
    """What a task tells the pipeline: how its examples are read, and how a batch becomes tensors.

    For sequences it is a `zoo.data.sequences.SequencePreparation`.
    """

    def read(self, example: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """{feature: raw value} as a tuple of tensors, which the cache holds."""
        ...

    # def cut(self, values, seed), where there is one: such a tuple -> what training makes a batch of

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[typing.Any, ...]:
        """Such a tuple, batched, as (inputs, targets), for evaluation."""
        ...

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[typing.Any, ...]:
        """The same with augmentation, as (inputs, targets) or (inputs, targets, weights)."""
        ...


AnyPreparation: typing.TypeAlias = Preparation | SequencePreparation | None
"""What `make_preparation` of a task returns; None where the batches of a source are used as they are."""


def steps_per_epoch(source: "Source", preparation: AnyPreparation, batch_size: int) -> int:
    """How many training batches an epoch has; all are of one size, and those left over are in another epoch's.

    Those of sequences are as `zoo.data.sequences` says.
    """
    if isinstance(preparation, SequencePreparation):
        return preparation.training(batch_size).steps
    count = source.sizes["train"]
    return count if source.ready else count // min(batch_size, count)


def training(
    source: "Source", preparation: AnyPreparation, *, batch_size: int, seed: int, epochs: range | None = None
) -> "tf.data.Dataset[typing.Any]":
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
        numbers = tf.data.Dataset.from_tensors(0).map(plain(lambda _: last.assign_add(1)))
    else:
        numbers = tf.data.Dataset.range(epochs.start, epochs.stop)
    if isinstance(preparation, SequencePreparation):
        return _sequences(preparation, batch_size, seed, numbers, 1 if epochs is None else len(epochs))
    batch_size = min(batch_size, source.sizes["train"])
    held = _held(source, "train", preparation)
    values_of = _values_of(source, preparation, held)
    if values_of is not None:
        drawn = numbers.flat_map(plain(lambda epoch: _rows(source.sizes["train"], batch_size, seed, epoch)))
    else:
        drawn = numbers.flat_map(plain(lambda epoch: _windows(source, preparation, batch_size, seed, epoch)))

    def finish(epoch, step, drawn):
        pair = _seed(seed, epoch, step)
        values = drawn if values_of is None else values_of(drawn, pair)
        return preparation.finish_training(values, pair)

    light = isinstance(held, tuple) and _size(value[0] for value in held) * batch_size <= LIGHT_BYTES
    data = _made(drawn, finish, light)
    total = steps_per_epoch(source, preparation, batch_size) * (1 if epochs is None else len(epochs))
    return data.apply(tf.data.experimental.assert_cardinality(total))


def _sequences(
    preparation: SequencePreparation, batch_size: int, seed: int, numbers: "tf.data.Dataset[typing.Any]", epochs: int
) -> "tf.data.Dataset[typing.Any]":
    """`training` of sequences; `numbers` gives the epochs."""
    tf = tensorflow()
    split = preparation.training(batch_size)
    batch = split.batch()

    def finish(epoch, step, *drawn):
        return preparation.finish_training(batch(*drawn), _seed(seed, epoch, step))

    data = _made(numbers.flat_map(plain(lambda epoch: split.epoch(seed, epoch))), finish, light=True)
    return data.apply(tf.data.experimental.assert_cardinality(split.steps * epochs))


def _made(
    drawn: "tf.data.Dataset[typing.Any]", finish: Callable[..., typing.Any], light: bool
) -> "tf.data.Dataset[typing.Any]":
    """`finish` of all that is drawn; by one thread where batches are light."""
    tf = tensorflow()
    if light:
        options = tf.data.Options()
        options.autotune.enabled = False
        return drawn.map(plain(finish)).prefetch(8).with_options(options)
    return drawn.map(plain(finish), tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _rows(count: int, batch_size: int, seed: int, epoch: Tensor) -> "tf.data.Dataset[typing.Any]":
    """(epoch, step, indices of a batch), in the order of the epoch."""
    tf = tensorflow()
    steps = count // batch_size
    order = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), seed=[seed, epoch])
    order = tf.reshape(order[: steps * batch_size], (steps, batch_size))
    return tf.data.Dataset.from_tensor_slices((tf.fill([steps], epoch), tf.range(steps, dtype=tf.int64), order))


def _windows(
    source: "Source", preparation: typing.Any, batch_size: int, seed: int, epoch: Tensor
) -> "tf.data.Dataset[typing.Any]":
    """(epoch, step, a batch as `read` leaves it) of a stream that is shuffled a window at a time."""
    tf = tensorflow()

    def shuffled(number, values):
        rows = tf.range(tf.shape(values[0], tf.int64)[0])
        order = tf.random.experimental.stateless_shuffle(rows, seed=_seed(seed, epoch, number))
        return tf.data.Dataset.from_tensor_slices(tuple(tf.gather(value, order) for value in values))

    def cut(number, values):
        return preparation.cut(values, tf.random.experimental.stateless_fold_in(_seed(seed, epoch, number), 0))

    read = source.examples("train").map(plain(preparation.read), tf.data.AUTOTUNE, deterministic=True)
    if hasattr(preparation, "cut"):
        read = read.enumerate().map(plain(cut), tf.data.AUTOTUNE, deterministic=True)
    size = max(1, min(WINDOW, WINDOW_BYTES // _size(read.element_spec)))
    batches = read.batch(size).enumerate().flat_map(plain(lambda number, values: shuffled(number, values)))
    batches = batches.batch(batch_size, drop_remainder=True).enumerate()
    return batches.map(plain(lambda step, values: (epoch, step, values)))


def _values_of(
    source: "Source", preparation: typing.Any, held: typing.Any
) -> Callable[[Tensor, Tensor], typing.Any] | None:
    """A function from indices and a seed pair to a batch, as `read` or `cut` leaves it; None for a mere stream."""
    tf = tensorflow()
    cut, fetch = getattr(preparation, "cut", None), source.fetcher("train")
    if held is None and fetch is None:
        return None
    if isinstance(held, tuple):
        return lambda rows, pair: tuple(tf.gather(value, rows) for value in held)

    def made(row, number, pair):
        values = preparation.read(fetch(row)) if held is None else held(row)
        return values if cut is None else cut(values, tf.random.experimental.stateless_fold_in(pair, number))

    spec = tf.data.Dataset.range(1).map(plain(lambda row: made(row, row, [0, 0]))).element_spec

    def batch(rows, pair):
        numbers = tf.range(tf.size(rows, tf.int64))
        return tf.map_fn(lambda both: made(*both, pair), (rows, numbers), fn_output_signature=spec)

    return batch


def evaluation(
    source: "Source", split: str, preparation: AnyPreparation, *, batch_size: int
) -> "tf.data.Dataset[typing.Any] | None":
    """A split in its own order, whole, without augmentation; None where the source has no such split.

    Where examples are of several shapes, a batch has those of one shape: it comes when it is full, or at the end.
    """
    tf = tensorflow()
    if split not in source.sizes:
        return None
    if source.ready:
        return source.examples(split)
    if isinstance(preparation, SequencePreparation):
        data = preparation.evaluation(split, batch_size)
        data = data.map(plain(lambda *values: preparation.finish(values)), tf.data.AUTOTUNE, deterministic=True)
        return data.prefetch(tf.data.AUTOTUNE)
    held = _held(source, split, preparation)
    if isinstance(held, tuple):
        data = tf.data.Dataset.from_tensor_slices(held)
    elif held is not None:
        data = tf.data.Dataset.range(source.sizes[split]).map(plain(held), tf.data.AUTOTUNE, deterministic=True)
    else:
        data = source.examples(split).map(plain(preparation.read), tf.data.AUTOTUNE, deterministic=True)
    if _fixed(data.element_spec):
        data = data.batch(batch_size)
    else:
        data = data.group_by_window(plain(_shape_number), plain(lambda _, alike: alike.batch(batch_size)), batch_size)
        with tf.device("CPU:0"), source.reading():
            sizes = held.image_sizes() if isinstance(held, _Packed) else source.image_sizes(split)
        _, counts = np.unique(sizes, axis=0, return_counts=True)
        total = int(np.sum(-(-counts // batch_size)))  # unstated, Keras takes the end of a pass for data that ran out
        data = data.apply(tf.data.experimental.assert_cardinality(total))
    data = data.map(plain(lambda *values: preparation.finish(values)), tf.data.AUTOTUNE, deterministic=True)
    return data.prefetch(tf.data.AUTOTUNE)


def _seed(seed: int, epoch: Tensor, step: Tensor) -> Tensor:
    """The integer pair of (seed, epoch, step)."""
    tf = tensorflow()
    return tf.random.experimental.stateless_fold_in(seed_pair(seed, epoch), tf.cast(step, tf.int64))


def _held(source: "Source", split: str, preparation: typing.Any) -> "tuple[Tensor, ...] | _Packed | None":
    """The split in memory: a tuple of tensors, `_Packed` where there is a `cut`; None where it would be too large."""
    tf = tensorflow()
    read = source.examples(split).map(plain(preparation.read), tf.data.AUTOTUNE, deterministic=True)
    with tf.device("CPU:0"), source.reading():
        if hasattr(preparation, "cut"):
            return _Packed.of(read)
        if _size(read.element_spec) * source.sizes[split] > CACHE_BYTES:
            return None
        for values in read.batch(source.sizes[split]):
            return values
    raise InputError(f"dataset={source.name}: its {split} split is empty.")


class _Packed:
    """Examples of any shapes in memory, the values of all end to end; called with an index, it gives an example.

    Args:
        examples: tuples of arrays.
        specs: of such a tuple.
    """

    def __init__(self, examples: list[tuple[np.ndarray, ...]], specs: typing.Any) -> None:
        tf = tensorflow()
        self._parts = []
        for arrays, spec in zip(zip(*examples, strict=True), specs, strict=True):
            ends = np.cumsum([array.size for array in arrays])
            values = np.concatenate([array.reshape(-1) for array in arrays])
            shapes = np.array([array.shape for array in arrays])
            self._parts.append((*map(tf.constant, (values, ends, shapes)), spec.shape))

    @classmethod
    def of(cls, data: "tf.data.Dataset[typing.Any]") -> "_Packed | None":
        """What `data` holds; None where that is more than `CACHE_BYTES`."""
        examples, size = [], 0
        for example in data.as_numpy_iterator():
            size += sum(array.nbytes for array in example)
            if size > CACHE_BYTES:
                return None
            examples.append(example)
        return cls(examples, data.element_spec)

    def image_sizes(self) -> np.ndarray:
        """(n, 2), heights and widths."""
        return self._parts[0][2].numpy()[:, :2]

    def __call__(self, row: Tensor) -> tuple[Tensor, ...]:
        tf = tensorflow()
        found = []
        for values, ends, shapes, known in self._parts:
            whole = tf.reshape(values[ends[row] - tf.reduce_prod(shapes[row]) : ends[row]], shapes[row])
            found.append(tf.ensure_shape(whole, known))
        return tuple(found)


def _shape_number(first: Tensor, *_: Tensor) -> Tensor:
    """A number for each shape of an example's first tensor, an image."""
    tf = tensorflow()
    height, width = tf.unstack(tf.shape(first, tf.int64)[:2])
    return height * 2**32 + width


def _fixed(tensors: Iterable[typing.Any]) -> bool:
    """Whether the shapes of all specs are known."""
    return all(tensor.shape.is_fully_defined() for tensor in tensors)


def _size(tensors: Iterable[typing.Any]) -> int:
    """Bytes of tensors, or of their specs."""
    return sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)
