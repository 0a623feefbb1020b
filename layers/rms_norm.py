from typing import Any

import keras

from zoo.layers import _checks


@keras.saving.register_keras_serializable("zoo")
class RMSNorm(keras.layers.RMSNormalization):
    """A norm of the features by their root mean square, without a mean or a bias.

    y = g x / sqrt(mean(x^2) + epsilon)

    It is `keras.layers.RMSNormalization` that hands masks on. Computed in float32 at least.

    Args:
        epsilon: Float, added to the mean of squares. Defaults to 1e-6.

    Call arguments:
        inputs: Tensor of (batch, ..., features).

    Input shape: (batch, ..., features).
    Output shape: as the input's.

    Example:

    >>> RMSNorm()(keras.ops.ones((1, 3, 4))).shape == (1, 3, 4)
    True

    Reference: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(epsilon=_checks.real("epsilon", epsilon, 0), **kwargs)
        self.supports_masking = True

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "axis"}
