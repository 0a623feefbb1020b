"""From a name, a path or data in memory to a `Source`."""

from collections.abc import Mapping

from zoo.errors import InputError, nearest

BUILT_IN = {"digits": "zoo.data.digits"}
"""Sets that are in the package and need no network: name -> the module of its TFDS builder."""

FORMS = "tfds:NAME[:VERSION], folder:PATH"


def open_source(spec, *, data_dir=None, skip_bad=False):
    """The `Source` that `spec` names, prepared where it was not.

    Args:
        spec: `digits`, `tfds:NAME[:VERSION]`, `folder:PATH`; or data in memory: `(x, y)`, a `tf.data.Dataset` of
            batches, or a mapping from split to either.
        data_dir: where prepared data lie; None is `ZOO_DATA`, else TensorFlow Datasets' own folder.
        skip_bad: leave out pictures that cannot be read, instead of an error.
    Raises: `InputError` for a name that is unknown, or data that cannot be used.
    """
    if not isinstance(spec, str):
        return _in_memory(spec)
    kind, colon, rest = spec.partition(":")
    if spec in BUILT_IN:
        from zoo.data.tfds_source import BuiltInSource

        return BuiltInSource(spec, BUILT_IN[spec], data_dir)
    if kind == "tfds" and rest:
        from zoo.data.tfds_source import TfdsSource

        return TfdsSource(spec, data_dir)
    if kind == "folder" and rest:
        from zoo.data.folder_source import FolderSource

        return FolderSource(spec, data_dir, skip_bad)
    if kind in ("arrays", "batches") and colon:
        raise InputError(
            f"dataset={spec} was handed over in memory and is not here. Pass the same data again: "
            "zoo.train(..., dataset=(x, y))."
        )
    if spec in ("tfds:", "folder:"):
        raise InputError(f"dataset={spec} needs a {'name' if kind == 'tfds' else 'path'} behind the colon: {FORMS}.")
    known = [*BUILT_IN, "tfds:", "folder:"]
    raise InputError(
        f"Unknown dataset {spec!r}.{nearest(spec, known)} There are: {', '.join(BUILT_IN)}, {FORMS}; "
        "`zoo data list` shows them."
    )


def _in_memory(data):
    from zoo.data.memory_source import ArraySource, BatchSource

    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    if all(isinstance(value, tuple) and len(value) == 2 for value in splits.values()):
        return ArraySource(splits)
    if all(hasattr(value, "element_spec") for value in splits.values()):
        return BatchSource(splits)
    raise InputError(
        "dataset must be a name, (x, y) arrays, a tf.data.Dataset, or a mapping from split to either. "
        f"Received: {type(data).__name__}."
    )
