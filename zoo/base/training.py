"""The fields of training, which all recipes share."""

from zoo import fields
from zoo.base.optimizing import OPTIMIZERS

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


class Training(fields.Declared):
    """What a training does, whatever the network."""

    dataset: str | None = fields.text(
        default=None,
        optional=True,
        examples=("digits", "tfds:mnist", "folder:PATH"),
        help="the data it trains on, by name",
    )
    epochs: int = fields.integer(default=10, legal=(1, 1_000_000), help="passes over the training split")
    batch_size: int = fields.integer(
        default=64, legal=(1, 1_000_000), search=(16, 256), log=True, help="examples in one step"
    )
    optimizer: str = fields.choice(*OPTIMIZERS, default="adamw", search=OPTIMIZERS[:4], help="the update rule")
    learning_rate: float = fields.real(
        default=1e-3, legal=(0, 1000), search=(1e-4, 1e-1), log=True, help="its peak, after warm-up"
    )
    momentum: float = fields.real(
        default=0.9,
        legal=(0, 0.9999),
        search=(0.8, 0.99),
        when={"optimizer": ("sgd", "rmsprop")},
        help="of the moving average of updates",
    )
    nesterov: bool = fields.flag(
        default=True, when={"optimizer": "sgd", "momentum": fields.above(0)}, help="Nesterov's momentum"
    )
    beta_2: float = fields.real(
        default=0.999,
        legal=(0, 0.99999),
        when={"optimizer": ("adam", "adamw")},
        help="of the moving average of squared gradients",
    )
    weight_decay: float = fields.real(
        default=0.0,
        legal=(0, 10),
        search=(1e-5, 1e-1),
        log=True,
        when={"optimizer": ("sgd", "adamw")},
        help="sgd: an L2 term before momentum; adamw: decoupled",
    )
    decay_norms: bool = fields.flag(
        default=False, when={"weight_decay": fields.above(0)}, help="whether norms and biases decay too"
    )
    schedule: str = fields.choice(
        "constant", "step", "cosine", "noam", default="constant", search=("constant", "cosine"),
        help="of the learning rate; noam: as the inverse square root of the step, after warm-up",
    )  # fmt: skip
    milestones: tuple[float, ...] = fields.reals(
        default=(0.5, 0.75),
        length=0,
        legal=(0, 1),
        when={"schedule": "step"},
        help="fractions of epochs where it falls",
    )
    decay: float = fields.real(
        default=0.1, legal=(0, 1), when={"schedule": "step"}, help="what each milestone multiplies the rate by"
    )
    warmup: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.2), help="fraction of epochs in which the rate rises from 0"
    )
    clip_norm: float | None = fields.real(
        default=None, legal=(1e-6, 1e6), optional=True, help="largest norm of all gradients together"
    )
    ema: float = fields.real(
        default=0.0,
        legal=(0, 0.99999),
        help="momentum of averaged weights, which validation and export then use; 0 is off",
    )
    accumulate: int = fields.integer(default=1, legal=(1, 10_000), help="steps whose gradients make one update")
    monitor: str | None = fields.text(
        default="val_loss", optional=True, examples=("val_accuracy",), help="what the best checkpoint is best by"
    )
    patience: int | None = fields.integer(
        default=None,
        legal=(1, 1_000_000),
        optional=True,
        when={"monitor": fields.given()},
        help="epochs without a better monitor before training stops",
    )
    seed: int = fields.integer(default=0, legal=(0, 2**31 - 1), help="of weights, order, augmentation and dropout")
    precision: str = fields.choice(*PRECISIONS, default="auto", help="auto: mixed_bfloat16 on a GPU that has it")
    jit_compile: str | bool = fields.choice("auto", True, False, default="auto", help="XLA; auto leaves it to Keras")
    init_from: str | None = fields.text(
        default=None,
        optional=True,
        examples=("RUN", "hf:OWNER/NAME"),
        help="a run, a .keras or .h5 file, or a published checkpoint, whose weights to start from",
    )
    freeze: str | None = fields.text(
        default=None, optional=True, help="layers to hold still, by a pattern on their names, such as 'conv*'"
    )
    unfreeze_epochs: tuple[int, ...] | None = fields.integers(
        default=None,
        length=0,
        legal=(1, 1_000_000),
        optional=True,
        when={"freeze": fields.given()},
        help="epochs after which they train too; of several, the first is for the deepest, the last for all others",
    )
    layer_decay: float = fields.real(
        default=1.0,
        legal=(0, 1),
        when={"init_from": fields.given()},
        help="what the rate is multiplied by for each block further from the head",
    )
    lora: int = fields.integer(
        default=0,
        legal=(0, 4096),
        when={"init_from": fields.given()},
        help="rank of the adapters that train in place of kernels before the head; 0 is off",
    )
    lora_alpha: float | None = fields.real(
        default=None,
        legal=(1e-6, 1e6),
        optional=True,
        when={"lora": fields.above(0)},
        help="adapters count alpha / lora; none: once",
    )
