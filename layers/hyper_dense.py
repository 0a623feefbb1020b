from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import _checks, _sublayers
from zoo.layers._typing import (
    Activation,
    ActivationFunction,
    Initializer,
    InitializerFunction,
    Regularizer,
    RegularizerFunction,
    Shape,
    Tensor,
)


@keras.saving.register_keras_serializable("zoo")
class HyperDense(keras.layers.Layer):
    """A dense layer whose kernel is a linear function of a second input.

    y = x W(z) + b, with W(z)_ji = sum_k z_k u_kji  (+ v_ji where `use_base`)

    Unlike `Quadratic` of `[x, z]`, z is one vector an example: its kernel is made once and serves all positions of x.

    Args:
        units: Integer, the number of output features.
        use_base: Boolean, whether the kernel has a constant part v: with z = 0 the layer is then a plain dense layer.
            Defaults to False.
        use_bias: Boolean, whether b is there; it does not depend on z. Defaults to True.
        activation: String or callable, the activation of y; None is linear. Defaults to None.
        kernel_initializer: Initializer for u and v. Defaults to "glorot_uniform".
        bias_initializer: Initializer for b. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for u and v. Defaults to None.

    Call arguments:
        inputs: List `[x, z]` of two tensors.

    Input shape: x (batch, ..., features), z (batch, conditions).
    Output shape: (batch, ..., units).

    Masks: x's passes through.

    Example:

    >>> x, z = keras.ops.ones((2, 7, 3)), keras.ops.ones((2, 5))
    >>> HyperDense(4)([x, z]).shape == (2, 7, 4)
    True

    Reference: LeCun 2020, Deep Learning course, "Multiplicative modules", W = H(z) with linear H; Ha, Dai & Le 2017,
    "HyperNetworks", section 3.
    """

    def __init__(
        self,
        units: int,
        use_base: bool = False,
        use_bias: bool = True,
        activation: Activation | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units: int = _checks.whole("units", units)
        self.use_base: bool = _checks.flag("use_base", use_base)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.activation: ActivationFunction = keras.activations.get(activation)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Sequence[Shape]) -> None:
        x, z = _checks.several("HyperDense", input_shape, (2,), "[x, z]")
        _checks.rank("HyperDense", z, "batch, conditions", name="z")
        features, conditions = _checks.known("HyperDense", x, -1), _checks.known("HyperDense", z, -1)
        if len(x) < 2:
            raise ValueError(f"HyperDense takes x of (batch, ..., features). Received: x of {x}")
        self.kernel: keras.Variable = self.add_weight(
            name="kernel",
            shape=(conditions, features, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_base:
            self.base: keras.Variable = self.add_weight(
                name="base",
                shape=(features, self.units),
                initializer=_sublayers.fresh(self.kernel_initializer, 1),
                regularizer=self.kernel_regularizer,
            )
        if self.use_bias:
            self.bias: keras.Variable = self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer
            )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, z = inputs
        conditions, features, units = self.kernel.shape
        kernel = keras.ops.matmul(z, keras.ops.reshape(self.kernel, (conditions, features * units)))
        kernel = keras.ops.reshape(kernel, (-1, features, units))  # (batch, features, units)
        if self.use_base:
            kernel = kernel + self.base
        y = keras.ops.einsum("b...j,bji->b...i", x, kernel)  # (batch, ..., units)
        if self.use_bias:
            y = y + self.bias
        return self.activation(y)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return (*input_shape[0][:-1], self.units)

    def compute_mask(self, inputs: Sequence[Tensor], previous_mask: Sequence[Tensor | None] | None) -> Tensor | None:
        return None if previous_mask is None else previous_mask[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "use_base": self.use_base,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
