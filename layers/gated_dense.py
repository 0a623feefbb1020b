from typing import Any

import keras

from zoo.layers import _activations, _checks, _sublayers
from zoo.layers._typing import Activation, Initializer, InitializerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class GatedDense(keras.layers.Layer):
    """A dense layer whose units are opened and shut by others: the GLU family.

    y = activation(x G + c) * (x W + b)

    "sigmoid" is GLU, "relu" ReGLU, "gelu" GEGLU, "silu" SwiGLU.

    Args:
        units: Integer, the number of output features.
        activation: String or callable, the activation of the gates: any that Keras knows, or "gelu_tanh". Defaults to
            "silu".
        use_bias: Boolean, whether b and c are there. Defaults to True.
        kernel_initializer: Initializer for G and W, which are drawn one by one. Defaults to "glorot_uniform".
        bias_initializer: Initializer for b and c. Defaults to "zeros".

    Call arguments:
        inputs: Tensor of (batch, ..., features).

    Input shape: (batch, ..., features).
    Output shape: (batch, ..., units).

    Example:

    >>> GatedDense(4)(keras.ops.ones((2, 3, 5))).shape == (2, 3, 4)
    True

    Reference: Dauphin et al. 2017, "Language Modeling with Gated Convolutional Networks"; Shazeer 2020, "GLU Variants
    Improve Transformer"; Hu et al. 2021, "LoRA" (`enable_lora`).
    """

    def __init__(
        self,
        units: int,
        activation: Activation | None = "silu",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units: int = _checks.whole("units", units)
        self._activation = _activations.get(activation)
        self.activation: Activation | None = activation
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.lora_enabled: bool = False

    def build(self, input_shape: Shape) -> None:
        features = _checks.known("GatedDense", input_shape, -1)
        drawn = _sublayers.joined(self.kernel_initializer, [self.units, self.units])
        self.kernel: keras.Variable = self.add_weight(
            name="kernel", shape=(features, 2 * self.units), initializer=drawn
        )
        if self.use_bias:
            self.bias: keras.Variable = self.add_weight(
                name="bias", shape=(2 * self.units,), initializer=self.bias_initializer
            )

    def call(self, inputs: Tensor) -> Tensor:
        lines = keras.ops.matmul(inputs, self._merged() if self.lora_enabled else self.kernel)  # (batch, ..., 2 units)
        if self.use_bias:
            lines = lines + self.bias
        gates, values = keras.ops.split(lines, 2, axis=-1)  # (batch, ..., units) each
        return self._activation(gates) * values

    def enable_lora(self, rank: int, lora_alpha: float | None = None) -> None:
        """Holds the kernel still, and adds to it the product of two matrices of this rank, which train: LoRA.

        As for `keras.layers.Dense`: the product starts as 0, counts `lora_alpha / rank` (once for None), and is part of
        the kernel in saved weights. G and W share the first matrix.
        """
        if not self.built or self.lora_enabled:
            raise ValueError("enable_lora is for a layer that is built, once.")
        self.lora_rank: int = _checks.whole("rank", rank)
        self.lora_alpha: float = rank if lora_alpha is None else lora_alpha
        features, columns = self.kernel.shape
        self._tracker.unlock()
        self.lora_kernel_a: keras.Variable = self.add_weight(
            name="lora_kernel_a", shape=(features, rank), initializer="he_uniform", dtype="float32"
        )
        self.lora_kernel_b: keras.Variable = self.add_weight(
            name="lora_kernel_b", shape=(rank, columns), initializer="zeros", dtype="float32"
        )
        self._tracker.lock()
        self.kernel.trainable = False
        self.lora_enabled = True

    def _merged(self):
        """The kernel with what was learned beside it, in the dtype in which the layer computes."""
        product = keras.ops.matmul(self.lora_kernel_a, self.lora_kernel_b) * (self.lora_alpha / self.lora_rank)
        return keras.ops.cast(self.kernel + product, self.compute_dtype)

    def save_own_variables(self, store: Any) -> None:
        if not self.lora_enabled:
            super().save_own_variables(store)
            return
        store["0"] = self._merged()
        if self.use_bias:
            store["1"] = self.bias

    def load_own_variables(self, store: Any) -> None:
        if not self.lora_enabled:
            super().load_own_variables(store)
            return
        self.kernel.assign(store["0"])
        if self.use_bias:
            self.bias.assign(store["1"])
        self.lora_kernel_b.assign(keras.ops.zeros(self.lora_kernel_b.shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": _activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
