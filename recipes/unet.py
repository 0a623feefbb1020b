from collections.abc import Iterable
from typing import Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, integer, real
from zoo.tasks import Segmentation


class UNet(
    Segmentation,
    dataset="cells",
    epochs=40,
    learning_rate=2e-3,
    schedule="cosine",
    warmup=0.05,
    jit_compile=False,
    input_shape=(128, 128, 1),
    classes=3,
    flip="both",
    brightness=0.1,
    contrast=0.2,
):
    """U-Net: an encoder halves the image step by step, a decoder restores its size, and skip connections join them.

    `unet/original` is Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation": unpadded, so that 572 x 572 pixels give the middle 388 x 388, 31,030,658 parameters, with the
    paper's border weights, elastic deformations, dropout and batches of one (its learning rate is not in the paper).
    `unet/same` is as wide, and padded. `unet/modern` has group norm, resized images in place of transposed
    convolutions, and soft gates in place of concatenation. Plain `unet` is a small padded one for the cells.

    Every padded variant takes any height and width and gives the same; inside, images are mirrored to the next size
    that halves `depth` times. The original takes any from 185 and gives 184 less; a reader mirrors images by 92
    pixels on each side first, so that files are answered whole all the same. Group and layer norm see all of a
    image: asked in tiles, they see a tile, and answer a little differently.

    `jit_compile` is off because XLA compiles once more for each size of image in evaluation.

    `zoo train unet` reaches a mean IoU of 0.916 on the cells' test split (mean of three seeds; a threshold and a
    watershed 0.607), in 5 to 12 minutes on 2 CPU cores that other work shared: `python benchmarks/cells.py`.
    """

    tuned: ClassVar[tuple[str, ...]] = ("dropout", "depth", "filters")

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {
            "input_shape": (572, 572, 1),
            "classes": 2,
            "filters": 64,
            "depth": 4,
            "padding": "valid",
            "norm": "none",
            "dropout": 0.5,
            "class_weight": "balanced",
            "w0": 10.0,
            "elastic": 10.0,
            "batch_size": 1,
            "optimizer": "sgd",
            "momentum": 0.99,
            "nesterov": False,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup": 0.0,
        },
        "same": {"input_shape": (256, 256, 1), "classes": 2, "filters": 64, "depth": 4, "norm": "none"},
        "modern": {"filters": 32, "depth": 4, "norm": "group", "up": "resize", "skip": "gate"},
    }

    filters: int = integer(default=16, legal=(1, 1024), search=(8, 64), log=True, help="channels at full resolution")
    depth: int = integer(
        default=3, legal=(1, 8), search=(2, 5), help="number of levels; each halves the image and doubles the channels"
    )
    padding: str = choice(
        "same", "valid", default="same", help="padding of convolutions; valid: masks are smaller than images"
    )
    norm: str = choice(
        "batch", "group", "layer", "none", default="batch", search=("batch", "group", "none"),
        help="norm after every 3 x 3 convolution; layer: over positions and channels",
    )  # fmt: skip
    groups: int | None = integer(
        default=None,
        legal=(1, 1024),
        optional=True,
        when={"norm": "group"},
        help="groups of the group norms; none: two channels per group at full resolution, at most 32 groups",
    )
    up: str = choice(
        "transpose",
        "resize",
        default="transpose",
        search=("transpose", "resize"),
        help="upsampling: transposed convolution, or bilinear resizing and a convolution",
    )
    skip: str = choice(
        "concat",
        "gate",
        default="concat",
        search=("concat", "gate"),
        help="how skip connections join: concatenation, or a soft gate",
    )
    dropout: float = real(
        default=0.0, legal=(0, 0.95), search=(0.0, 0.5), help="dropout at the end of the contracting path"
    )

    def check(self) -> None:
        least = 2 * self.margin + 1
        if min(self.input_shape[:2]) < least:
            raise InputError(f"U-Net with padding={self.padding} and depth={self.depth} needs pieces of at least "
                             f"{least} x {least}. Received: input_shape={self.input_shape}.")  # fmt: skip
        if self.norm == "group" and self.filters % self._groups:
            raise InputError(f"groups must divide filters={self.filters}. Received: groups={self._groups}.")

    @property
    def margin(self) -> int:
        return self._lost(self.depth)

    @property
    def step(self) -> int:
        return 2**self.depth

    @property
    def reach(self) -> int:
        return self.margin or 6 * 2**self.depth - 2

    def network(self) -> keras.Model:
        # Layers
        scale = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")
        step = 2**self.depth
        pad = zoo.layers.PadToGrid(step, offset=-4 % step if self.padding == "valid" else 0, name="pad")
        down = [self._make_convolutions(level, f"down{level + 1}") for level in range(self.depth)]
        bottom = self._make_convolutions(self.depth, "bottom")
        up = [self._make_convolutions(level, f"up{level + 1}") for level in range(self.depth)]
        head = keras.layers.Conv2D(self.classes, 1, kernel_initializer="he_normal", dtype="float32", name="head")
        crop = zoo.layers.CropLike(self.margin, dtype="float32", name="head_crop")

        # Network
        images = keras.Input((None, None, self.input_shape[-1]), name="images")
        x, seen = pad(scale(images)), []
        for level, layers in enumerate(down):
            x = _through(layers, x)  # (batch, height / 2^level, width / 2^level, filters 2^level)
            if self.dropout and level == self.depth - 1:
                x = keras.layers.Dropout(self.dropout, name="down_dropout")(x)
            seen.append(x)
            x = keras.layers.MaxPooling2D(2, name=f"pool{level + 1}")(x)
        x = _through(bottom, x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="bottom_dropout")(x)
        for level in reversed(range(self.depth)):
            x = _through(self._make_doubling(level), x)  # as what was seen at that level
            x = _through(up[level], self._join(level, seen[level], x))
        features = keras.layers.Identity(name="features")(x)
        return keras.Model(images, crop([head(features), images]), name="unet")

    def _make_convolutions(self, level: int, name: str) -> list[keras.layers.Layer]:
        """Two 3 x 3 convolutions, each with its norm and a ReLU."""
        layers = []
        for number in (1, 2):
            convolve = keras.layers.Conv2D(
                self.filters * 2**level,
                3,
                padding=self.padding,
                use_bias=self.norm == "none",
                kernel_initializer="he_normal",
                name=f"{name}_conv{number}",
            )
            layers += [convolve, *self._make_norm(f"{name}_norm{number}")]
            layers.append(keras.layers.Activation("relu", name=f"{name}_relu{number}"))
        return layers

    def _make_norm(self, name: str) -> list[keras.layers.Layer]:
        match self.norm:
            case "none":
                return []
            case "batch":
                return [zoo.layers.BatchNorm(momentum=0.9, epsilon=1e-5, name=name)]
            case _:
                return [zoo.layers.GroupNorm(self._groups if self.norm == "group" else 1, name=name)]

    def _make_doubling(self, level: int) -> list[keras.layers.Layer]:
        """Twice the image, half the channels."""
        name, filters = f"up{level + 1}", self.filters * 2**level
        if self.up == "transpose":
            return [keras.layers.Conv2DTranspose(filters, 2, 2, kernel_initializer="he_normal", name=f"{name}_double")]
        return [
            keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_resize"),
            keras.layers.Conv2D(filters, 2, padding="same", kernel_initializer="he_normal", name=f"{name}_double"),
        ]

    def _join(self, level: int, seen: Any, x: Any) -> Any:
        lost = self._lost(self.depth - level) - 4 if self.padding == "valid" else 0
        if lost:
            seen = keras.layers.Cropping2D(lost, name=f"up{level + 1}_crop")(seen)
        if self.skip == "concat":
            return keras.layers.Concatenate(name=f"up{level + 1}_join")([seen, x])
        return zoo.layers.SoftGate(name=f"up{level + 1}_gate")([seen, x])

    def _lost(self, depth: int) -> int:
        """Pixels lost on each side by `depth` levels of unpadded convolutions and those below them."""
        return 6 * 2**depth - 4 if self.padding == "valid" else 0

    @property
    def _groups(self) -> int:
        return self.groups or max(1, min(32, self.filters // 2))


def _through(layers: Iterable[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x
