"""The names of ImageNet's 1,000 classes, for checkpoints that do not name theirs (`imagenet.txt`, from torchvision)."""

import functools
import pathlib
import re
from collections.abc import Mapping
from typing import Any

CLASSES = 1000


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of the classes, in the order of their numbers."""
    return tuple(pathlib.Path(__file__).with_name("imagenet.txt").read_text(encoding="utf-8").splitlines())


def is_of(config: Mapping[str, Any]) -> bool:
    """Returns whether a config is of a network that was trained on ImageNet's 1,000 classes last.

    timm's tag says so: its last data set is `in1k`, as in `a1_in1k` or `augreg_in21k_ft_in1k`. `num_classes` is 1000.
    """
    said = config.get("pretrained_cfg")
    tag = said.get("tag") if isinstance(said, Mapping) else None
    last = re.search(r"(^|_)in1k(_\d+)?$", str(tag))
    return last is not None and config.get("num_classes") == CLASSES
