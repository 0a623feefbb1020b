"""What recipes of images share: how pixels become numbers around 0."""

import keras

from zoo.errors import InputError
from zoo.fields import Declared, reals


class Pixels(Declared):
    """Fields of the layer `scale`, which takes pixels from 0 to 255 and has no weights.

    y = (x / 255 - mean) / std, for all channels or for each: ImageNet's are 0.485,0.456,0.406 and 0.229,0.224,0.225.
    """

    mean: tuple[float, ...] = reals(
        default=(0.5,),
        length=0,
        legal=(0, 1),
        help="subtracted from pixels, as a fraction of white; one, or one a channel",
    )
    std: tuple[float, ...] = reals(
        default=(0.5,), length=0, legal=(1e-3, 10), help="what pixels are then divided by; one, or one a channel"
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
