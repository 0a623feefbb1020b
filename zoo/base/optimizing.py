"""The optimizer of a recipe's fields."""

import typing

import keras

from zoo.objective import layerwise
from zoo.objective.optimizers import L2SGD

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adadelta")

KINDS: dict[str, type[keras.optimizers.Optimizer]] = {
    "sgd": L2SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "adadelta": keras.optimizers.Adadelta,
}
"""{name: class} of the optimizers; `zoo.objective.layerwise` has the same, layerwise."""

NORMS_AND_BIASES = r"(^|/)(bias|gamma|beta|scale)(:\d+)?$"
"""Names of the variables that `decay_norms` is about: `bias` to Keras, `c1/bias:0` where TensorFlow has the word."""


def make_optimizer(recipe: typing.Any, rate: typing.Any) -> keras.optimizers.Optimizer:
    """Returns the optimizer that the fields of `recipe` describe, with the learning rate or schedule `rate`.

    It is a `Layerwise` one where the fields give layers rates, or starts, of their own.
    """
    own = recipe.layer_decay != 1 or bool(recipe.unfreeze_epochs)
    kind = (layerwise.KINDS if own else KINDS)[recipe.optimizer]
    shared: dict[str, typing.Any] = {
        "name": "optimizer",
        "learning_rate": rate,
        "global_clipnorm": recipe.clip_norm,
        "use_ema": recipe.ema > 0,
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.ema:
        shared["ema_momentum"] = recipe.ema
    if recipe.weight_decay:
        shared["weight_decay"] = recipe.weight_decay
    match recipe.optimizer:
        case "sgd":
            options = {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
        case "adam":
            options = {"beta_2": recipe.beta_2}
        case "adamw":
            options = {"beta_2": recipe.beta_2, "weight_decay": recipe.weight_decay}
        case "rmsprop":
            options = {"momentum": recipe.momentum}
        case "adadelta":
            options = {"epsilon": 1e-6}
    optimizer = kind(**{**shared, **options})
    if recipe.weight_decay and not recipe.decay_norms:
        optimizer.exclude_from_weight_decay(var_names=[NORMS_AND_BIASES])
    return optimizer
