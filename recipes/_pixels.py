"""What recipes of images share: how pixels become numbers around 0."""

import math
import typing

import keras

from zoo.errors import InputError
from zoo.fields import Declared, reals
from zoo.weights.layout import Config, expect


def reading(config: Config) -> dict[str, typing.Any]:
    """The values of how a checkpoint reads images, by its config of timm or its preprocessor of transformers; empty
    where it says nothing."""
    said = config.get("pretrained_cfg", config)
    if "mean" in said:  # timm
        channels, height, width = said.get("input_size", (3, 224, 224))
        expect(said, "interpolation", "bilinear", "bicubic", default="bilinear")
        return {
            "mean": tuple(said["mean"]),
            "std": tuple(said["std"]),
            "input_shape": (height, width, channels),
            "resize": "crop",
            "crop_fraction": said.get("crop_pct") or 0.875,
            "interpolation": said.get("interpolation", "bilinear"),
        }
    said = config.get("preprocessor", {})
    if "image_mean" not in said:
        return {}
    expect(said, "resample", *RESAMPLING, default=2)
    found = {
        "mean": tuple(said["image_mean"]),
        "std": tuple(said["image_std"]),
        "interpolation": RESAMPLING[said.get("resample", 2)],
    }
    channels = len(found["mean"])
    size = said.get("size", 224)
    crop = said.get("crop_size", size)
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    if edge is None:  # both edges are changed
        height, width = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
        return {**found, "input_shape": (height, width, channels), "resize": "stretch"}
    kept = crop.get("height", crop.get("shortest_edge", edge)) if isinstance(crop, dict) else crop
    fraction = said.get("crop_pct") or kept / edge
    return {**found, "input_shape": (kept, kept, channels), "resize": "crop", "crop_fraction": fraction}


RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""{Pillow's number: our word}."""


def preprocessing(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """What preprocessor_config.json of transformers says of values: the inverse of `reading`."""
    height, width, channels = values["input_shape"]
    resample = next(number for number, name in RESAMPLING.items() if name == values["interpolation"])
    means, stds = (list(values[name] * (channels // len(values[name]))) for name in ("mean", "std"))
    common = {
        "do_resize": True,
        "resample": resample,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": means,
        "image_std": stds,
    }
    if values["resize"] == "stretch":
        size = {"height": height, "width": width}
        return {"image_processor_type": "ViTImageProcessor", **common, "size": size}
    return {
        "image_processor_type": "BitImageProcessor",
        **common,
        "size": {"shortest_edge": math.floor(height / values["crop_fraction"])},
        "crop_size": {"height": height, "width": width},
        "do_center_crop": True,
        "crop_pct": values["crop_fraction"],
    }


def pretrained_cfg(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """What a config of timm says of values: the inverse of `reading`."""
    height, width, channels = values["input_shape"]
    means, stds = (list(values[name] * (channels // len(values[name]))) for name in ("mean", "std"))
    return {
        "input_size": [channels, height, width],
        "crop_pct": values["crop_fraction"],
        "crop_mode": "center",
        "interpolation": values["interpolation"],
        "mean": means,
        "std": stds,
    }


class Pixels(Declared):
    """Fields of the layer `scale`, which takes pixels from 0 to 255 and has no weights.

    y = (x / 255 - mean) / std, for all channels or for each: ImageNet's are 0.485,0.456,0.406 and 0.229,0.224,0.225.
    """

    mean: tuple[float, ...] = reals(
        default=(0.5,),
        length=0,
        legal=(0, 1),
        help="subtracted from pixels, as a fraction of white; one value, or one per channel",
    )
    std: tuple[float, ...] = reals(
        default=(0.5,),
        length=0,
        legal=(1e-3, 10),
        help="pixels are divided by it afterwards; one value, or one per channel",
    )

    def check(self) -> None:
        super().check()
        channels = self.input_shape[-1]
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count not in (1, channels):
                raise InputError(
                    f"{name} must have one number, or one for each of the {channels} channels of "
                    f"input_shape={self.input_shape}. Received: {count} numbers."
                )

    def make_scale(self) -> keras.layers.Layer:
        """The layer `scale`, which keeps Python's numbers: they come back from a file as they were."""
        count = max(len(self.mean), len(self.std))
        means, stds = (values * (count // len(values)) for values in (self.mean, self.std))
        scale, offset = [1 / (255 * std) for std in stds], [-mean / std for mean, std in zip(means, stds, strict=True)]
        if count == 1:
            return keras.layers.Rescaling(scale[0], offset=offset[0], name="scale")
        return keras.layers.Rescaling(scale, offset=offset, name="scale")
