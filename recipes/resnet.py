import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, flag, integer, real
from zoo.recipes._pixels import Pixels, preprocessing, pretrained_cfg, reading
from zoo.recipes._torchvision import depth_of, torchvision_config
from zoo.tasks import ImageClassification
from zoo.weights.layout import Config, Family, Target, expect, required
from zoo.weights.parts import convolution, dense, norm

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Residual blocks of each stage in the imagenet family; from depth 50 on they are bottlenecks."""

CIFAR: dict[str, Any] = {
    "family": "small",
    "dataset": "tfds:cifar10",
    "input_shape": (32, 32, 3),
    "epochs": 182,  # 64,000 steps of 128 on 45,000 images
    "batch_size": 128,
    "learning_rate": 0.1,
    "nesterov": False,
    "weight_decay": 1e-4,
    "decay_norms": True,
    "schedule": "step",
    "milestones": (0.5, 0.75),
    "crop": 4,
    "flip": "horizontal",
    "rotation": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "mixup": 0.0,
}
IMAGENET: dict[str, Any] = CIFAR | {
    "family": "imagenet",
    "dataset": "tfds:imagenet2012",
    "input_shape": (224, 224, 3),
    "classes": 1000,
    "epochs": 90,
    "batch_size": 256,
    "milestones": (1 / 3, 2 / 3, 8 / 9),
    "crop": 32,
}


def _of_timm(config: Config) -> dict[str, Any]:
    """The values of a checkpoint of timm."""
    return {"family": "imagenet", "depth": int(config["architecture"].removeprefix("resnet")), **reading(config)}


def _of_transformers(config: Config) -> dict[str, Any]:
    """The values of a checkpoint of transformers."""
    expect(config, "hidden_act", "relu")
    expect(config, "downsample_in_first_stage", False, default=False)
    expect(config, "downsample_in_bottleneck", False, default=False)
    expect(config, "embedding_size", 64)
    bottleneck = required(config, "layer_type") == "bottleneck"
    depth = depth_of(BLOCKS, required(config, "depths"), bottleneck)
    widths = [(256 if bottleneck else 64) * 2**stage for stage in range(4)]
    if depth is None or list(required(config, "hidden_sizes")) != widths:
        depths = list(config["depths"])
        raise InputError(f"config.json has depths={depths} and hidden_sizes that no ResNet of ours has.")
    return {"family": "imagenet", "depth": depth, **reading(config)}


def _to_timm(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a checkpoint of timm."""
    return {"architecture": f"resnet{values['depth']}", "global_pool": "avg", "pretrained_cfg": pretrained_cfg(values)}


def _to_transformers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a checkpoint of transformers."""
    depth = values["depth"] if values["depth"] in BLOCKS else 50
    bottleneck = depth >= 50
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "hidden_act": "relu",
        "num_channels": values["input_shape"][2],
        "embedding_size": 64,
        "hidden_sizes": [(256 if bottleneck else 64) * 2**stage for stage in range(4)],
        "depths": list(BLOCKS[depth]),
        "layer_type": "bottleneck" if bottleneck else "basic",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
        "preprocessor": preprocessing(values),
    }


def _normed(ours: str, kernel: str, after: str) -> dict[str, Any]:
    """The rows of a convolution and the batch norm after it."""
    return {
        f"{ours}/kernel": convolution(f"{kernel}.weight"),
        **norm(f"{ours}_norm", after),
        f"{ours}_norm/moving_mean": f"{after}.running_mean",
        f"{ours}_norm/moving_variance": f"{after}.running_var",
    }


BODY, SHORTCUT = "stage{s}_block{b}/conv{c}", "stage{s}_block{b}/shortcut/shortcut"

FAMILIES = (
    Family(
        architectures=("ResNetForImageClassification", "ResNetModel"),
        values=_of_transformers,
        names={
            **_normed("stem", "embedder.embedder.convolution", "embedder.embedder.normalization"),
            **_normed(
                BODY,
                "encoder.stages.{s-1}.layers.{b-1}.layer.{c-1}.convolution",
                "encoder.stages.{s-1}.layers.{b-1}.layer.{c-1}.normalization",
            ),
            **_normed(
                SHORTCUT,
                "encoder.stages.{s-1}.layers.{b-1}.shortcut.convolution",
                "encoder.stages.{s-1}.layers.{b-1}.shortcut.normalization",
            ),
            **dense("head", "classifier.1"),
        },
        prefixes=("", "resnet."),
        ignored=("*.num_batches_tracked",),
        target=Target(_to_transformers, "resnet.", bare=("classifier.*",)),
    ),
    Family(
        architectures=tuple(f"resnet{depth}" for depth in BLOCKS),
        values=_of_timm,
        names={
            **_normed("stem", "conv1", "bn1"),
            **_normed(BODY, "layer{s}.{b-1}.conv{c}", "layer{s}.{b-1}.bn{c}"),
            **_normed(SHORTCUT, "layer{s}.{b-1}.downsample.0", "layer{s}.{b-1}.downsample.1"),
            **dense("head", "fc"),
        },
        ignored=("*.num_batches_tracked",),
        target=Target(_to_timm),
        bare=functools.partial(torchvision_config, BLOCKS),
    ),
)


class ResNet(
    Pixels,
    ImageClassification,
    dataset="digits",
    epochs=100,
    batch_size=64,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule="cosine",
    jit_compile=False,
    input_shape=(32, 32, 1),
    mean=(128 / 255,),
    std=(64 / 255,),
    rotation=15.0,
    zoom=0.15,
    shift=0.1,
    mixup=0.2,
):
    """ResNet: each block adds what its convolutions make of its input to that input.

    He, Zhang, Ren & Sun 2016, "Deep Residual Learning for Image Recognition". `resnet/20` to `resnet/110` are its
    networks for 32 x 32 images (section 4.2; 269,722 parameters at depth 20), with shortcuts of option A, which
    have none. `resnet/18` to `resnet/152` are those for ImageNet as everybody builds them since: the stride stands on
    the 3 x 3 convolution ("v1.5"), convolutions have no bias, batch norm has epsilon 1e-5 (25,557,032 trainable
    parameters at depth 50). Plain `resnet` is the network of depth 20, for the digits.

    `norm` and `groups` are Wu & He 2018, "Group Normalization"; `zero_init_residual` is Goyal et al. 2017, section
    5.1; `drop_path` Huang et al. 2016, its probability rising with depth; `stage=ode` keeps the first block of each
    stage and solves dx/dt = f(x), f the body of one more, where the others stood (Chen et al. 2018).

    `jit_compile` is off because on a CPU XLA's convolutions are slower: `python benchmarks/vision.py`.
    """

    tuned: ClassVar[tuple[str, ...]] = ("label_smoothing", "depth", "width")

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        **{str(depth): CIFAR | {"depth": depth} for depth in (20, 32, 44, 56)},
        "110": CIFAR | {"depth": 110, "warmup": 0.006},  # the paper's 400 steps of a smaller rate
        **{str(depth): IMAGENET | {"depth": depth} for depth in BLOCKS},
    }

    families: ClassVar[tuple[Family, ...]] = FAMILIES

    family: str = choice(
        "small", "imagenet", default="small", help="small: 3 stages from 16 channels; imagenet: 4 stages from 64"
    )
    depth: int = integer(
        default=20, legal=(8, 2000), search=(20, 56), step=6, help="number of layers with weights: 6n + 2, or 18 to 152"
    )
    width: float = real(
        default=1.0, legal=(0.25, 16), search=(0.5, 2.0), help="factor on the number of channels, in multiples of 8"
    )
    norm: str = choice(
        "batch",
        "group",
        "layer",
        "none",
        default="batch",
        search=("batch", "group", "layer"),
        help="norm after every convolution; layer: over positions and channels",
    )
    groups: int | None = integer(
        default=None,
        legal=(1, 4096),
        optional=True,
        when={"norm": "group"},
        help="groups of the group norms; none: two channels per group in the narrowest stage, at most 32 groups",
    )
    activation: str = choice(
        "relu", "gelu", "silu", "elu", default="relu", search=("relu", "gelu", "silu"), help="after norms and sums"
    )
    shortcut: str = choice(
        "family",
        "A",
        "B",
        default="family",
        help="shortcut where channels grow: A pads with zeros, B projects; family: A for small, B for imagenet",
    )
    stem: str = choice(
        "family", "small", "imagenet", default="family", help="small: 3 x 3; imagenet: 7 x 7 and pooling"
    )
    zero_init_residual: bool = flag(
        default=False,
        search=(True, False),
        when={"norm": ("batch", "group", "layer")},
        help="whether the last norm of a block starts with gamma = 0, so that blocks start as the identity",
    )
    drop_path: float = real(
        default=0.0, legal=(0, 0.95), search=(0.0, 0.3), help="stochastic depth: probability of dropping the last block"
    )
    stage: str = choice(
        "residual", "ode", default="residual", help="ode: an ODE block in place of all but one block of a stage"
    )
    head: str = choice(
        "dense",
        "moe",
        "quadratic",
        default="dense",
        search=("dense", "moe", "quadratic"),
        help="layer from features to logits",
    )

    def check(self) -> None:
        super().check()
        if self.family == "small" and self.depth % 6 != 2:
            below = self.depth - (self.depth - 2) % 6
            raise InputError(f"depth of family=small must be 6n + 2, such as {below} or {below + 6}. "
                             f"Received: depth={self.depth}.")  # fmt: skip
        if self.family == "imagenet" and self.depth not in BLOCKS:
            raise InputError(f"depth of family=imagenet must be one of {', '.join(map(str, BLOCKS))}. "
                             f"Received: depth={self.depth}.")  # fmt: skip
        if min(self.input_shape[:2]) < 8:
            raise InputError(f"ResNet needs images of at least 8 x 8. Received: input_shape={self.input_shape}. "
                             "Images are resized to input_shape: give a larger one.")  # fmt: skip
        if self.norm == "group" and self._widths[0] % self._groups:
            raise InputError(f"groups must divide the {self._widths[0]} channels of the narrowest stage. "
                             f"Received: groups={self._groups}.")  # fmt: skip
        if self.stage == "ode" and self.norm == "batch":
            raise InputError("stage=ode needs norm=group, layer or none: a batch norm changes its averages while the "
                             "equation is solved. Received: norm=batch.")  # fmt: skip

    def network(self) -> keras.Model:
        # Layers
        scale = self.make_scale()
        stem = self._make_stem()
        stages = self._make_stages()
        pool = keras.layers.GlobalAveragePooling2D(name="features")
        head = self._make_head()

        # Network
        images = keras.Input(self.input_shape, name="images")
        x = scale(images)
        for layer in stem:
            x = layer(x)  # (batch, height, width, 16), or (batch, height / 4, width / 4, 64)
        for block in stages:
            x = block(x)  # each stage but the first halves the image and doubles the channels
        return keras.Model(images, head(pool(x)), name="resnet")

    def _make_stem(self) -> list[keras.layers.Layer]:
        large = self.stem == "imagenet" or (self.stem == "family" and self.family == "imagenet")
        size, strides = (7, 2) if large else (3, 1)
        layers = [
            *self._convolution(self._stem_width, size, strides, "stem"),
            keras.layers.Activation(self.activation, name="stem_activation"),
        ]
        if large:
            layers += [
                keras.layers.ZeroPadding2D(1, name="stem_pool_pad"),
                keras.layers.MaxPooling2D(3, strides=2, name="stem_pool"),
            ]
        return layers

    def _make_stages(self) -> list[keras.layers.Layer]:
        counts = ((self.depth - 2) // 6,) * 3 if self.family == "small" else BLOCKS[self.depth]
        places = [(stage, index) for stage, count in enumerate(counts) for index in range(count)]
        before, blocks = self._stem_width, []
        for number, (stage, index) in enumerate(places):
            name = f"stage{stage + 1}_block{index + 1}"
            width = self._widths[stage]
            if self.stage == "ode" and index:
                if index == 1:
                    dynamics = keras.Sequential(self._make_body(width, 1, f"{name}_"), name=f"{name}_dynamics")
                    blocks.append(zoo.layers.ODEBlock(dynamics, solver="rk4", steps=2, name=name))
                continue
            strides = 2 if index == 0 and stage else 1
            blocks.append(
                zoo.layers.ResidualBlock(
                    self._make_body(width, strides),
                    shortcut=self._make_shortcut(before, width * self._expansion, strides),
                    activation=self.activation,
                    drop_path=self.drop_path * number / max(len(places) - 1, 1),
                    name=name,
                )
            )
            before = width * self._expansion
        return blocks

    def _make_body(self, width: int, strides: int, prefix: str = "") -> list[keras.layers.Layer]:
        """Two 3 x 3 convolutions, or a bottleneck of 1 x 1, 3 x 3 and 1 x 1."""
        sizes = [(width, 3, strides), (width, 3, 1)]
        if self._expansion > 1:
            sizes = [(width, 1, 1), (width, 3, strides), (width * self._expansion, 1, 1)]
        layers = []
        for index, (filters, size, step) in enumerate(sizes):
            name = f"{prefix}conv{index + 1}"
            last = index == len(sizes) - 1
            layers += self._convolution(filters, size, step, name, last and self.zero_init_residual)
            if not last:
                layers.append(keras.layers.Activation(self.activation, name=f"{name}_activation"))
        return layers

    def _make_shortcut(self, before: int, after: int, strides: int) -> keras.layers.Layer | None:
        """None where the identity fits."""
        if before == after and strides == 1:
            return None
        if self.shortcut == "A" or (self.shortcut == "family" and self.family == "small"):
            return zoo.layers.ZeroPadShortcut(after, strides, name="shortcut")
        return keras.Sequential(self._convolution(after, 1, strides, "shortcut"), name="shortcut")

    def _convolution(
        self, filters: int, size: int, strides: int, name: str, zero_init: bool = False
    ) -> list[keras.layers.Layer]:
        """A convolution and its norm. Strided ones are padded on both sides alike, which "same" does not."""
        normed = self.norm != "none"
        pad = size > 1 and strides > 1
        convolve = keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="valid" if pad else "same",
            use_bias=not normed,
            kernel_initializer="he_normal",
            name=name,
        )
        layers = [keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")] if pad else []
        return [*layers, convolve, *([self._make_norm(f"{name}_norm", zero_init)] if normed else [])]

    def _make_norm(self, name: str, zero_init: bool) -> keras.layers.Layer:
        gamma = "zeros" if zero_init else "ones"
        if self.norm == "batch":
            return zoo.layers.BatchNorm(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=name)
        groups = self._groups if self.norm == "group" else 1
        return zoo.layers.GroupNorm(groups, gamma_initializer=gamma, name=name)

    def _make_head(self) -> Any:
        shared = {"dtype": "float32", "name": "head"}
        match self.head:
            case "dense":
                return keras.layers.Dense(self.classes, **shared)
            case "moe":
                experts = [keras.layers.Dense(self.classes, dtype="float32") for _ in range(4)]
                return zoo.layers.MixtureOfExperts(experts, **shared)
            case "quadratic":
                return zoo.layers.Quadratic(self.classes, rank=4, **shared)

    @property
    def _expansion(self) -> int:
        """Channels of a block's output for one within."""
        return 4 if self.family == "imagenet" and self.depth >= 50 else 1

    @property
    def _stem_width(self) -> int:
        return self._widths[0]

    @property
    def _widths(self) -> list[int]:
        """Channels of each stage, within its blocks."""
        narrowest, stages = (16, 3) if self.family == "small" else (64, 4)
        return [max(8, round(narrowest * 2**stage * self.width / 8) * 8) for stage in range(stages)]

    @property
    def _groups(self) -> int:
        return self.groups or min(32, self._widths[0] // 2)
