from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import _checks, _masks
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class SoftGate(keras.layers.Layer):
    """Blends two inputs by a gate: the first where it is open, the second where it is shut.

    f(x, y, r) = x s(r) + y (1 - s(r)), with s the logistic sigmoid.

    The gradients are s(r) for x, 1 - s(r) for y, and (x - y) s(r) (1 - s(r)) for r.

    Args:
        kernel_initializer: Initializer for the projection that makes r where only `[x, y]` is given. Defaults to
            "glorot_uniform".
        bias_initializer: Initializer for its bias. A constant above 0 starts with the gate open to x. Defaults to
            "zeros".
        kernel_regularizer: Regularizer or None, for the projection. Defaults to None.

    Call arguments:
        inputs: List `[x, y, r]` of tensors, or `[x, y]`: then r = W [x; y] + b at every position, with trained W and b.

    Input shape: x and y (batch, ..., features) alike; r of as many axes, each as x's or 1.
    Output shape: as x's.

    Masks: a position is valid where it is in x, y and r.

    Example:

    >>> x, y, r = keras.ops.ones((2, 3)), keras.ops.zeros((2, 3)), keras.ops.zeros((2, 1))
    >>> bool(keras.ops.all(SoftGate()([x, y, r]) == 0.5))
    True

    Reference: LeCun 2020, Deep Learning course, "Multiplicative modules"; Srivastava, Greff & Schmidhuber 2015,
    "Highway Networks", equation 3.
    """

    def __init__(
        self,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Sequence[Shape]) -> None:
        x, y, *gate = _checks.several("SoftGate", input_shape, (2, 3), "[x, y] or [x, y, r]")
        if not _checks.agree(x, y):
            raise ValueError(f"SoftGate blends tensors of one shape. Received: x of {x}, y of {y}")
        if gate:
            sizes = zip(gate[0], x, strict=False)
            if len(gate[0]) != len(x) or any(size not in (1, None) and None is not of != size for size, of in sizes):
                raise ValueError(
                    f"SoftGate's r needs as many axes as x, each of x's size or 1. Received: r of {gate[0]}, x of {x}"
                )
            return
        features = _checks.known("SoftGate", x, -1)
        self.kernel: keras.Variable = self.add_weight(
            name="kernel",
            shape=(2 * features, features),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias: keras.Variable = self.add_weight(name="bias", shape=(features,), initializer=self.bias_initializer)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, y, *gate = inputs
        if gate:
            r = gate[0]
        else:
            r = keras.ops.matmul(keras.ops.concatenate([x, y], axis=-1), self.kernel) + self.bias  # as x
        r = keras.ops.cast(r, "float32")  # in half precision the sigmoid saturates early
        # 1 - s(r) is s(-r), which keeps its digits where s(r) is near 1
        return x * self._cast(keras.ops.sigmoid(r), x) + y * self._cast(keras.ops.sigmoid(-r), x)

    def _cast(self, gate, like):
        return keras.ops.cast(gate, like.dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])

    def compute_mask(self, inputs: Sequence[Tensor], previous_mask: Sequence[Tensor | None] | None) -> Tensor | None:
        return _masks.every(*(previous_mask or ()))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
