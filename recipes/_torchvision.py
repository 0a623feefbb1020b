"""What torchvision's ResNets are: files of weights with no config, known by their names and shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.weights.layout import Config

READING = {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "input_size": [3, 224, 224],
    "interpolation": "bilinear",
}
"""How its networks read images, the crop aside."""

SECOND = ("11ad3fa6", "cd907fc2", "f82ba261")
"""What the SHA-256 of its second weights (V2) begins with, of depth 50, 101 and 152: their crop is another."""

Blocks = Mapping[int, Sequence[int]]
"""{depth: blocks in each stage}."""


def torchvision_config(known: Blocks, tensors: Mapping[str, Any], digest: Callable[[], str]) -> Config | None:
    """Returns timm's config for weights with torchvision's names and widths and 1,000 classes; None for others.

    Args:
        known: the ResNets that there are.
        tensors: of the file.
        digest: returns the SHA-256 of the file.
    """
    if not {"fc.bias", "layer1.0.conv1.weight"} <= set(tensors) or tensors["fc.bias"].shape != (1000,):
        return None
    if tensors["layer1.0.conv1.weight"].shape[0] != 64:  # a wide one, or one of groups
        return None
    firsts = [name.split(".")[0] for name in tensors if name.startswith("layer") and name.endswith(".conv1.weight")]
    counts = [firsts.count(f"layer{stage}") for stage in range(1, 5)]
    depth = depth_of(known, counts, "layer1.0.conv3.weight" in tensors)
    if depth is None:
        return None
    crop, tag = (0.965, "tv2_in1k") if digest().startswith(SECOND) else (0.875, "tv_in1k")
    said = {**READING, "crop_pct": crop, "tag": tag}
    return {"architecture": f"resnet{depth}", "num_classes": 1000, "pretrained_cfg": said}


def depth_of(known: Blocks, counts: Sequence[int], bottleneck: bool) -> int | None:
    """Returns the depth of the ResNet with such blocks in its stages; None where there is none."""
    depths = [depth for depth, blocks in known.items() if tuple(blocks) == tuple(counts)]
    return next((depth for depth in depths if (depth >= 50) == bottleneck), None)
