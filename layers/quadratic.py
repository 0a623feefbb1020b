from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import _checks, _masks, _sublayers
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
class Quadratic(keras.layers.Layer):
    """Units that multiply their inputs: a quadratic form of one tensor, or a bilinear form of two.

    s_i = sum_jk u_ijk x_j z_k  (+ sum_j w_ij x_j)  (+ b_i), with z = x where one tensor is given

    With `rank` the matrix of each unit is a sum of that many outer products, u_i = sum_r a_ir c_ir^T, so that
    s_i = sum_r (a_ir . x)(c_ir . z): the work and the weights of two dense layers of units * rank.

    Args:
        units: Integer, the number of output features.
        rank: Integer or None, the rank of each unit's matrix. None is the full matrix, features(x) * features(z)
            weights a unit. Defaults to None.
        use_linear: Boolean, whether the linear term in x is there. Defaults to True.
        use_bias: Boolean, whether b is there. Defaults to True.
        activation: String or callable, the activation of s; None is linear. Defaults to None.
        kernel_initializer: Initializer for u, or for its factors. Zeros make a full layer start linear; a factorised
            one would stay so. Defaults to "glorot_uniform".
        linear_initializer: Initializer for w. Defaults to "glorot_uniform".
        bias_initializer: Initializer for b. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for w and for u or its factors. Defaults to None.

    Call arguments:
        inputs: Tensor x, or list `[x, z]` of two tensors.

    Input shape: x (batch, ..., features), z as x but for the number of features.
    Output shape: (batch, ..., units).

    Masks: a position is valid where it is in x and z.

    Example, the product of two inputs, which no single dense layer computes:

    >>> layer = Quadratic(1, kernel_initializer="zeros", use_linear=False)
    >>> layer.build((None, 2))
    >>> layer.kernel.assign([[[0.0], [1.0]], [[0.0], [0.0]]])  # x_0 x_1
    >>> layer(keras.ops.array([[3.0, 5.0]])).tolist()
    [[15.0]]

    Reference: LeCun 2020, Deep Learning course, "Multiplicative modules", s_i = sum_j w_ij x_j with
    w_ij = sum_k u_ijk z_k; Fan, Cong & Wang 2018, "A new type of neurons for machine learning" (rank 1).
    """

    def __init__(
        self,
        units: int,
        rank: int | None = None,
        use_linear: bool = True,
        use_bias: bool = True,
        activation: Activation | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        linear_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units: int = _checks.whole("units", units)
        self.rank: int | None = None if rank is None else _checks.whole("rank", rank)
        self.use_linear: bool = _checks.flag("use_linear", use_linear)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.activation: ActivationFunction = keras.activations.get(activation)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.linear_initializer: InitializerFunction = keras.initializers.get(linear_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape | Sequence[Shape]) -> None:
        x, z = self._shapes(input_shape)
        left = _checks.known("Quadratic", x, -1)
        right = left if z is None else _checks.known("Quadratic", z, -1)
        if z is not None and not _checks.agree(x[:-1], z[:-1]):
            raise ValueError(f"Quadratic takes x and z that differ in features only. Received: x of {x}, z of {z}")
        if self.rank is None:
            self.kernel: keras.Variable = self._add_kernel("kernel", (left, right, self.units))
        else:
            self.kernel = self._add_kernel("kernel", (left, self.rank * self.units))
            self.factor: keras.Variable = self._add_kernel("factor", (right, self.rank * self.units), index=1)
        if self.use_linear:
            self.linear: keras.Variable = self.add_weight(
                name="linear",
                shape=(left, self.units),
                initializer=self.linear_initializer,
                regularizer=self.kernel_regularizer,
            )
        if self.use_bias:
            self.bias: keras.Variable = self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer
            )

    def call(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        x, z = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        s = (self._full if self.rank is None else self._low_rank)(x, x if z is None else z)
        if self.use_linear:
            s = s + keras.ops.matmul(x, self.linear)
        if self.use_bias:
            s = s + self.bias
        return self.activation(s)  # (batch, ..., units)

    def _full(self, x, z):
        left, right, units = self.kernel.shape
        products = keras.ops.expand_dims(x, -1) * keras.ops.expand_dims(z, -2)  # (batch, ..., left, right)
        products = keras.ops.reshape(products, (*keras.ops.shape(x)[:-1], left * right))
        return keras.ops.matmul(products, keras.ops.reshape(self.kernel, (left * right, units)))

    def _low_rank(self, x, z):
        terms = keras.ops.matmul(x, self.kernel) * keras.ops.matmul(z, self.factor)  # (batch, ..., rank * units)
        if self.rank == 1:
            return terms
        terms = keras.ops.reshape(terms, (*keras.ops.shape(terms)[:-1], self.rank, self.units))
        return keras.ops.sum(terms, axis=-2)

    def _add_kernel(self, name, shape, index=0):
        initializer = _sublayers.fresh(self.kernel_initializer, index)
        return self.add_weight(name=name, shape=shape, initializer=initializer, regularizer=self.kernel_regularizer)

    def _shapes(self, input_shape):
        """(x's shape, z's or None)"""
        if input_shape and isinstance(input_shape[0], (list, tuple)):
            return _checks.several("Quadratic", input_shape, (2,), "[x, z]")
        return tuple(input_shape), None

    def compute_output_shape(self, input_shape: Shape | Sequence[Shape]) -> Shape:
        x, _ = self._shapes(input_shape)
        return (*x[:-1], self.units)

    def compute_mask(
        self, inputs: Tensor | Sequence[Tensor], previous_mask: Tensor | Sequence[Tensor | None] | None
    ) -> Tensor | None:
        return _masks.every(*(previous_mask or ())) if isinstance(inputs, (list, tuple)) else previous_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "rank": self.rank,
            "use_linear": self.use_linear,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "linear_initializer": keras.initializers.serialize(self.linear_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
