import math
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, integer
from zoo.recipes._blocks import Blocks
from zoo.recipes._pixels import Pixels, preprocessing, pretrained_cfg, reading
from zoo.tasks import ImageClassification
from zoo.weights.layout import Config, Family, Target, expect, required
from zoo.weights.parts import convolution, dense, fitted, norm

IMAGENET: dict[str, Any] = {
    "dataset": "tfds:imagenet2012",
    "input_shape": (224, 224, 3),
    "classes": 1000,
    "patch": 16,
    "depth": 12,
    "epochs": 300,
    "batch_size": 4096,
    "learning_rate": 3e-3,
    "weight_decay": 0.3,
    "warmup": 0.1,
    "dropout": 0.1,
    "label_smoothing": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "shear": 0.0,
    "flip": "horizontal",
    "resize": "crop",
}
"""What the published variants have in common; Dosovitskiy et al. 2020, table 3, trained on ImageNet alone."""

SIZES = {"tiny": "ti", "small": "s", "base": "b", "large": "l"}
"""{timm's word for a size: the variant}."""


def _of_timm(config: Config) -> dict[str, Any]:
    """The values of a checkpoint of timm."""
    sizes = IMAGENET | ViT.variants[SIZES[config["architecture"].split("_")[1]]]
    return {**{name: sizes[name] for name in ("depth", "width", "heads", "hidden", "patch")}, **KIND, **reading(config)}


def _of_transformers(config: Config) -> dict[str, Any]:
    """The values of a checkpoint of transformers."""
    expect(config, "hidden_act", "gelu", default="gelu")
    expect(config, "qkv_bias", True, default=True)
    size, patch = required(config, "image_size"), required(config, "patch_size")
    height, width = size if isinstance(size, list) else (size, size)
    read = {"input_shape": (height, width, int(config.get("num_channels", 3))), **reading(config)}
    return {
        **KIND,
        "depth": required(config, "num_hidden_layers"),
        "width": required(config, "hidden_size"),
        "heads": required(config, "num_attention_heads"),
        "hidden": required(config, "intermediate_size"),
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "patch": patch,
        **read,
    }


def _to_timm(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a checkpoint of timm."""
    sizes = {ViT.variants[short]["width"]: size for size, short in SIZES.items()}
    name = f"vit_{sizes.get(values['width'], 'base')}_patch16_{384 if values['input_shape'][0] == 384 else 224}"
    return {"architecture": name, "global_pool": "token", "pretrained_cfg": pretrained_cfg(values)}


def _to_transformers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a checkpoint of transformers."""
    height, width, channels = values["input_shape"]
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_act": "gelu",
        "qkv_bias": True,
        "image_size": height if height == width else [height, width],
        "num_channels": channels,
        "patch_size": values["patch"],
        "num_hidden_layers": values["depth"],
        "hidden_size": values["width"],
        "num_attention_heads": values["heads"],
        "intermediate_size": values["hidden"],
        "layer_norm_eps": values["epsilon"],
        "hidden_dropout_prob": values["dropout"],
        "attention_probs_dropout_prob": values["attention_dropout"],
        "preprocessor": preprocessing(values),
    }


KIND = {"ffn": "dense", "activation": "gelu", "norm": "pre", "positions": "learned", "pool": "class"}
"""What all checkpoints of the kind have in common."""


def _fit_positions(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The table of positions (1, 1 + patches, width) of a checkpoint, for the grid of the variable's shape."""
    if table.shape[1] == shape[0]:
        return table[0]
    before, after = math.isqrt(table.shape[1] - 1), math.isqrt(shape[0] - 1)
    if before**2 != table.shape[1] - 1 or after**2 != shape[0] - 1:
        raise ValueError("positions are fitted to another size where both grids of patches are square")
    return resize_positions(table[0], (before, before), (after, after))


def _flat(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.reshape(shape)


def _in_front(array: np.ndarray) -> np.ndarray:
    """(1, n, width) of the class token, or of positions (n, width)."""
    return array.reshape(1, -1, array.shape[-1])


TIMM = Family(
    architectures=tuple(f"vit_{size}_patch16_{pixels}" for size in SIZES for pixels in (224, 384)),
    values=_of_timm,
    names={
        "class_token/token": fitted("cls_token", _flat, _in_front),
        "positions/table": fitted("pos_embed", _fit_positions, _in_front),
        "patches/kernel": convolution("patch_embed.proj.weight"),
        "patches/bias": "patch_embed.proj.bias",
        **norm("encoder{n}/self_attention_norm", "blocks.{n-1}.norm1"),
        **dense("encoder{n}/self_attention/query_key_value", "blocks.{n-1}.attn.qkv"),
        **dense("encoder{n}/self_attention/output", "blocks.{n-1}.attn.proj"),
        **norm("encoder{n}/feed_forward_norm", "blocks.{n-1}.norm2"),
        **dense("encoder{n}/feed_forward_hidden", "blocks.{n-1}.mlp.fc1"),
        **dense("encoder{n}/feed_forward_output", "blocks.{n-1}.mlp.fc2"),
        **norm("norm", "norm"),
        **dense("head", "head"),
    },
    target=Target(_to_timm),
)

LAYER, SELF = "encoder.layer.{n-1}", "encoder.layer.{n-1}.attention.attention"

TRANSFORMERS = Family(
    architectures=("ViTForImageClassification", "ViTModel"),
    values=_of_transformers,
    names={
        "class_token/token": fitted("embeddings.cls_token", _flat, _in_front),
        "positions/table": fitted("embeddings.position_embeddings", _fit_positions, _in_front),
        "patches/kernel": convolution("embeddings.patch_embeddings.projection.weight"),
        "patches/bias": "embeddings.patch_embeddings.projection.bias",
        **norm("encoder{n}/self_attention_norm", f"{LAYER}.layernorm_before"),
        **dense("encoder{n}/self_attention/query_key_value", f"{SELF}.query", f"{SELF}.key", f"{SELF}.value"),
        **dense("encoder{n}/self_attention/output", f"{LAYER}.attention.output.dense"),
        **norm("encoder{n}/feed_forward_norm", f"{LAYER}.layernorm_after"),
        **dense("encoder{n}/feed_forward_hidden", f"{LAYER}.intermediate.dense"),
        **dense("encoder{n}/feed_forward_output", f"{LAYER}.output.dense"),
        **norm("norm", "layernorm"),
        **dense("head", "classifier"),
    },
    prefixes=("", "vit."),
    ignored=("pooler.*",),
    target=Target(_to_transformers, "vit.", bare=("classifier.*",)),
)


class ViT(
    Blocks,
    Pixels,
    ImageClassification,
    dataset="digits",
    epochs=60,
    batch_size=32,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup=0.1,
    clip_norm=1.0,
    input_shape=(32, 32, 1),
    rotation=12.0,
    zoom=0.15,
    shift=0.08,
    shear=8.0,
    depth=4,
    width=64,
    hidden=256,
    activation="gelu",
    positions="learned",
):
    """ViT, an encoder of Transformer blocks that reads an image as a sequence of its patches.

    Dosovitskiy et al. 2020, "An Image Is Worth 16x16 Words: Transformers for Image Recognition at Scale". `vit/b` and
    `vit/l` are its networks of patches of 16 x 16 (86,567,656 and 304,326,632 parameters), `vit/ti` and `vit/s` the
    smaller ones of Touvron et al. 2020 and Steiner et al. 2021 (5,717,416 and 22,050,664), all with a single dense
    layer as head. Plain `vit` is a small one for the digits.

    `pool=mean` has no class token: features are the mean of the patches' answers (Beyer et al. 2022, "Better plain ViT
    baselines for ImageNet-1k"). `resize_positions` fits the learned positions to images of another size.

    `zoo train vit` reaches 98.43 % of the digits' test split (mean of three seeds; `lenet` 98.98 %, an SVC 98.89 %):
    `python benchmarks/digits.py vit`.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "ti": {**IMAGENET, "width": 192, "heads": 3, "hidden": 768},
        "s": {**IMAGENET, "width": 384, "heads": 6, "hidden": 1536},
        "b": {**IMAGENET, "width": 768, "heads": 12, "hidden": 3072},
        "l": {**IMAGENET, "width": 1024, "heads": 16, "hidden": 4096, "depth": 24},
    }
    families: ClassVar[tuple[Family, ...]] = (TRANSFORMERS, TIMM)

    patch: int = integer(default=4, legal=(1, 1024), help="height and width of a patch; must divide the image's")
    pool: str = choice(
        "class",
        "mean",
        default="class",
        search=("class", "mean"),
        help="features: the class token, or the mean over patches",
    )

    def check(self) -> None:
        super().check()
        if any(size % self.patch for size in self.input_shape[:2]):
            raise InputError(
                f"patch must divide height and width of input_shape={self.input_shape}. Received: patch={self.patch}."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width, _ = self.input_shape
        return height // self.patch, width // self.patch

    def network(self) -> keras.Model:
        # Layers
        count = self.grid[0] * self.grid[1]
        scale = self.make_scale()
        patches = keras.layers.Conv2D(
            self.width, self.patch, strides=self.patch, kernel_initializer="lecun_normal", name="patches"
        )
        sequence = keras.layers.Reshape((count, self.width), name="sequence")
        token = zoo.layers.ClassToken(name="class_token")
        positions = self.make_positions(count + (self.pool == "class"))
        numbers = range(1, self.depth + 1)
        blocks = [self.make_block(zoo.layers.TransformerEncoderBlock, f"encoder{number}") for number in numbers]
        head = keras.layers.Dense(self.classes, dtype="float32", name="head")

        # Network
        images = keras.Input(self.input_shape, name="images")
        x = sequence(patches(scale(images)))  # (batch, patches, width), row by row
        if self.pool == "class":
            x = token(x)  # (batch, 1 + patches, width)
        x = keras.layers.Dropout(self.dropout, name="dropout")(positions(x))
        for block in blocks:
            x = block(x)
        x = self.make_last("norm")(x)
        if self.pool == "class":
            features = keras.layers.Identity(name="features")(x[:, 0])
        else:
            features = keras.layers.GlobalAveragePooling1D(name="features")(x)
        return keras.Model(images, head(features), name="vit")


def resize_positions(table: np.ndarray, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """Learned positions for another grid of patches, interpolated linearly along both axes.

    The corners of the grids stand on each other, as in the paper's own code. Rows of `table` in front of the grid's
    last `before[0] * before[1]`, such as the class token's, stay as they are.

    Args:
        table: array (n, width), the weight `positions/table` of a ViT.
        before: rows and columns of the grid that it was trained on.
        after: rows and columns of the grid that is wanted.
    Returns: array (n + change, width) of the table's dtype.
    Raises: `InputError` where the table has fewer rows than the grid.
    """
    table = np.asarray(table)
    rows, columns = before
    front = len(table) - rows * columns
    if front < 0:
        raise InputError(
            f"A grid of {rows} x {columns} patches has {rows * columns} positions. Received: a table of {len(table)}."
        )
    grid = table[front:].astype("float64").reshape(rows, columns, -1)
    down, across = (_hats(old, new) for old, new in zip(before, after, strict=True))
    resized = np.einsum("ar,bc,rcw->abw", down, across, grid, optimize=True).reshape(-1, table.shape[-1])
    return np.concatenate([table[:front], resized.astype(table.dtype)])


def _hats(old: int, new: int) -> np.ndarray:
    """(new, old) weights with which `new` places, spread over those of `old`, take from them."""
    places = np.linspace(0, old - 1, new) if new > 1 else [(old - 1) / 2]
    return np.stack([np.interp(places, np.arange(old), hat) for hat in np.eye(old)], axis=1)
