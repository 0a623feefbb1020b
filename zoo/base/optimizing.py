"""The optimizer of a recipe's fields."""

import typing

import keras

from zoo.objective.optimizers import L2SGD

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adadelta")

NORMS_AND_BIASES = r"(^|/)(bias|gamma|beta|scale)(:\d+)?$"
"""Names of the variables that `decay_norms` is about: `bias` to Keras, `c1/bias:0` where TensorFlow has the word."""


def make_optimizer(recipe: typing.Any, rate: typing.Any) -> keras.optimizers.Optimizer:
    """Returns the optimizer that the fields of `recipe` describe, with the learning rate or schedule `rate`."""
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
            optimizer = L2SGD(momentum=recipe.momentum, nesterov=recipe.nesterov, **shared)
        case "adam":
            optimizer = keras.optimizers.Adam(beta_2=recipe.beta_2, **shared)
        case "adamw":
            optimizer = keras.optimizers.AdamW(beta_2=recipe.beta_2, **{"weight_decay": 0.0, **shared})
        case "rmsprop":
            optimizer = keras.optimizers.RMSprop(momentum=recipe.momentum, **shared)
        case "adadelta":
            optimizer = keras.optimizers.Adadelta(epsilon=1e-6, **shared)
    if recipe.weight_decay and not recipe.decay_norms:
        optimizer.exclude_from_weight_decay(var_names=[NORMS_AND_BIASES])
    return optimizer
