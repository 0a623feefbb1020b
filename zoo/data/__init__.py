"""Data sets: named by a string or handed over, opened as a `Source`, read in batches by `zoo.data.pipeline`."""

from zoo.data.opening import BUILT_IN, open_source

__all__ = ["BUILT_IN", "open_source"]
