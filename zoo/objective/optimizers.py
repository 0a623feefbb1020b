"""What Keras's optimizers lack: weight decay as the papers have it, and schedules with warm-up over a known length."""

from collections.abc import Iterable
from typing import Any

import keras

from zoo.objective import Tensor


@keras.saving.register_keras_serializable("zoo")
class L2SGD(keras.optimizers.SGD):
    """SGD whose `weight_decay` is an L2 term: it joins the gradient before momentum.

    g = dL/dw + weight_decay w;  m = momentum m - learning_rate g;  w = w + m

    Keras's own `SGD(weight_decay=)` is decoupled (w -= learning_rate weight_decay w, outside momentum), which is
    1 / (1 - momentum) times weaker than what the ResNet paper and PyTorch do with the same number.

    Args: those of `keras.optimizers.SGD`; `exclude_from_weight_decay` works as there.
    Reference: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", Algorithm 1, line 6 (the L2 term).
    """

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        if self.weight_decay and self._use_weight_decay(variable):
            gradient = keras.ops.cast(gradient, variable.dtype) + self.weight_decay * variable
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: Iterable[keras.Variable]) -> None:
        """Nothing: the decay is in the gradient."""


@keras.saving.register_keras_serializable("zoo")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly over `warmup_steps`, then stays or falls: in steps, as a cosine to 0,
    or as the inverse square root of the step.

    rate(s) = peak (s + 1) / warmup_steps             for s < warmup_steps, then
    constant: peak;   step: peak decay^(milestones passed);
    cosine: peak (1 + cos(pi (s - warmup_steps) / (total_steps - warmup_steps))) / 2;
    noam: peak (warmup_steps / (s + 1))^0.5, which with peak = (dim warmup_steps)^-0.5 is Vaswani's schedule

    Args:
        peak: the rate after warm-up.
        kind: "constant", "step", "cosine" or "noam".
        total_steps: steps of the whole training; with accumulated gradients, micro-steps.
        warmup_steps: steps of the rise.
        milestones: fractions of `total_steps` at which "step" multiplies the rate by `decay`.
        decay: see `milestones`.
    Reference: Goyal et al. 2017 (warm-up), Loshchilov & Hutter 2017, SGDR, Eq. 5 (cosine), one cycle; Vaswani et al.
        2017, "Attention Is All You Need", equation 3 (noam).
    """

    def __init__(
        self,
        peak: float,
        kind: str = "constant",
        total_steps: int = 1,
        warmup_steps: int = 0,
        milestones: Iterable[float] = (),
        decay: float = 0.1,
    ) -> None:
        super().__init__()
        self.peak = peak
        self.kind = kind
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.milestones: tuple[float, ...] = tuple(milestones)
        self.decay = decay

    def __call__(self, step: Tensor) -> Tensor:
        ops = keras.ops
        step = ops.cast(step, "float32")
        rate = ops.cast(self.peak, "float32")
        if self.kind == "step":
            for milestone in self.milestones:
                rate = rate * ops.where(step >= milestone * self.total_steps, self.decay, 1.0)
        elif self.kind == "cosine":
            length = max(1, self.total_steps - self.warmup_steps)
            progress = ops.clip((step - self.warmup_steps) / length, 0.0, 1.0)
            rate = rate * 0.5 * (1.0 + ops.cos(3.141592653589793 * progress))
        elif self.kind == "noam":
            rate = rate * ops.sqrt(max(1, self.warmup_steps) / (step + 1.0))
        if self.warmup_steps:
            rate = ops.where(step < self.warmup_steps, self.peak * (step + 1.0) / self.warmup_steps, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "kind": self.kind,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "milestones": list(self.milestones),
            "decay": self.decay,
        }
