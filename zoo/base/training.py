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
        help="name of the training data",
    )
    epochs: int = fields.integer(default=10, legal=(1, 1_000_000), help="number of passes over the training split")
    batch_size: int = fields.integer(
        default=64, legal=(1, 1_000_000), search=(16, 256), log=True, help="examples per step"
    )
    optimizer: str = fields.choice(*OPTIMIZERS, default="adamw", search=OPTIMIZERS[:4], help="optimization algorithm")
    learning_rate: float = fields.real(
        default=1e-3, legal=(0, 1000), search=(1e-4, 1e-1), log=True, help="learning rate; with a schedule, its peak"
    )
    momentum: float = fields.real(
        default=0.9,
        legal=(0, 0.9999),
        search=(0.8, 0.99),
        when={"optimizer": ("sgd", "rmsprop")},
        help="momentum",
    )
    nesterov: bool = fields.flag(
        default=True, when={"optimizer": "sgd", "momentum": fields.above(0)}, help="whether momentum is Nesterov's"
    )
    beta_2: float = fields.real(
        default=0.999,
        legal=(0, 0.99999),
        when={"optimizer": ("adam", "adamw")},
        help="decay of the second-moment average (beta 2)",
    )
    weight_decay: float = fields.real(
        default=0.0,
        legal=(0, 10),
        search=(1e-5, 1e-1),
        log=True,
        when={"optimizer": ("sgd", "adamw")},
        help="weight decay; sgd: L2 term added to the gradient; adamw: decoupled",
    )
    decay_norms: bool = fields.flag(
        default=False, when={"weight_decay": fields.above(0)}, help="whether weight decay applies to norms and biases"
    )
    schedule: str = fields.choice(
        "constant", "step", "cosine", "noam", default="constant", search=("constant", "cosine"),
        help="learning rate schedule; noam: inverse square root of the step after warm-up",
    )  # fmt: skip
    milestones: tuple[float, ...] = fields.reals(
        default=(0.5, 0.75),
        length=0,
        legal=(0, 1),
        when={"schedule": "step"},
        help="fractions of the epochs at which the rate falls",
    )
    decay: float = fields.real(
        default=0.1, legal=(0, 1), when={"schedule": "step"}, help="factor on the rate at each milestone"
    )
    warmup: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.2), help="fraction of the epochs over which the rate rises from 0"
    )
    clip_norm: float | None = fields.real(
        default=None, legal=(1e-6, 1e6), optional=True, help="gradient clipping: largest global norm"
    )
    ema: float = fields.real(
        default=0.0,
        legal=(0, 0.99999),
        help="momentum of the exponential moving average of weights, used by validation and export; 0: off",
    )
    accumulate: int = fields.integer(default=1, legal=(1, 10_000), help="gradient accumulation: steps per update")
    monitor: str | None = fields.text(
        default="val_loss",
        optional=True,
        examples=("val_accuracy",),
        help="metric by which the best checkpoint is chosen",
    )
    patience: int | None = fields.integer(
        default=None,
        legal=(1, 1_000_000),
        optional=True,
        when={"monitor": fields.given()},
        help="early stopping: epochs without improvement of monitor",
    )
    seed: int = fields.integer(default=0, legal=(0, 2**31 - 1), help="seed of weights, order, augmentation and dropout")
    precision: str = fields.choice(
        *PRECISIONS, default="auto", help="numeric precision; auto: mixed_bfloat16 on a GPU that supports it"
    )
    jit_compile: str | bool = fields.choice(
        "auto", True, False, default="auto", help="compile with XLA; auto: Keras decides"
    )
    init_from: str | None = fields.text(
        default=None,
        optional=True,
        examples=("RUN", "hf:OWNER/NAME"),
        help="initial weights: a run, a .keras or .h5 file, or a published checkpoint",
    )
    freeze: str | None = fields.text(
        default=None, optional=True, help="layers to freeze, by a pattern on their names, such as 'conv*'"
    )
    unfreeze_epochs: tuple[int, ...] | None = fields.integers(
        default=None,
        length=0,
        legal=(1, 1_000_000),
        optional=True,
        when={"freeze": fields.given()},
        help="epochs after which frozen layers train; of several, the first for the deepest, the last for all others",
    )
    layer_decay: float = fields.real(
        default=1.0,
        legal=(0, 1),
        when={"init_from": fields.given()},
        help="factor on the learning rate for each block further from the head",
    )
    lora: int = fields.integer(
        default=0,
        legal=(0, 4096),
        when={"init_from": fields.given()},
        help="rank of LoRA adapters, which train in place of the kernels before the head; 0: off",
    )
    lora_alpha: float | None = fields.real(
        default=None,
        legal=(1e-6, 1e6),
        optional=True,
        when={"lora": fields.above(0)},
        help="adapters are scaled by alpha / lora; none: by 1",
    )
