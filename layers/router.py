from typing import Any

import keras

from zoo.layers import _checks, _dispatch
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor
from zoo.layers.routing import Routing


@keras.saving.register_keras_serializable("zoo")
class Router(keras.layers.Layer):
    """Chooses experts for each position by the softmax of a linear function: the gate of a mixture of experts.

    logits = x W,  p = softmax(logits);  of the k largest, weights p_e, for k > 1 divided by their sum

    It works in float32 whatever the policy: rounded logits send tokens elsewhere. Of equal logits the first is taken.
    In training it adds the losses that it is given weights for.

    Args:
        num_experts: Integer, the number of experts, at least 1.
        top_k: Integer or None, how many experts a position goes to. None is all of them, weighted by p. Defaults to
            None.
        normalize: Boolean, whether the k weights are divided by their sum where 1 < k. The weight of a single choice is
            always p itself: 1 would give the router no gradient. Defaults to True.
        jitter: Float. In training inputs are multiplied by noise, uniform from 1 - jitter to 1 + jitter. Defaults to
            0.0.
        balance_loss: Float, the weight of the load-balancing loss, `Routing.balance_loss`, which acts where `top_k` is
            given. Defaults to 0.01.
        z_loss: Float, the weight of the router z-loss, `Routing.z_loss`. Defaults to 0.0.
        kernel_initializer: Initializer for W; None is VarianceScaling(0.1), by which a router starts near uniform.
            Defaults to None.
        kernel_regularizer: Regularizer or None, for W. Defaults to None.
        seed: Integer or None, the seed of the jitter. Defaults to None.

    Call arguments:
        inputs: Tensor; each position of its leading axes is routed by itself.
        mask: Boolean tensor of (batch, ...), or None. A False position is not routed and counts in no loss.
        training: Boolean, whether jitter and losses act.

    Input shape: (batch, ..., features).
    Output: a `Routing` of (batch, ..., num_experts) and (batch, ..., k).

    Example:

    >>> routing = Router(num_experts=8, top_k=2)(keras.random.normal((2, 3, 4)))
    >>> bool(keras.ops.all(keras.ops.abs(keras.ops.sum(routing.weights, axis=-1) - 1) < 1e-6))
    True

    Reference: Shazeer et al. 2017, "Outrageously Large Neural Networks", section 2; Fedus, Zoph & Shazeer 2021,
    "Switch Transformers", sections 2.1, 2.2 and 2.4.
    """

    def __init__(
        self,
        num_experts: int,
        top_k: int | None = None,
        normalize: bool = True,
        jitter: float = 0.0,
        balance_loss: float = 0.01,
        z_loss: float = 0.0,
        kernel_initializer: Initializer | None = None,
        kernel_regularizer: Regularizer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.autocast = False  # its inputs keep the digits they come with
        self.num_experts: int = _checks.whole("num_experts", num_experts)
        self.top_k: int | None = _dispatch.check_top_k(top_k, num_experts)
        self.normalize: bool = _checks.flag("normalize", normalize)
        self.jitter: float = _checks.real("jitter", jitter, 0, 1, below=True)
        self.balance_loss: float = _checks.real("balance_loss", balance_loss, 0)
        self.z_loss: float = _checks.real("z_loss", z_loss, 0)
        self.kernel_initializer: InitializerFunction | None = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)
        self.seed: int | None = seed
        if self.jitter:
            self.seed_generator: keras.random.SeedGenerator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        # a plain weight, because a Dense sublayer would be quantised with the rest of the model
        self.kernel: keras.Variable = self.add_weight(
            name="kernel",
            shape=(_checks.known("Router", input_shape, -1), self.num_experts),
            initializer=self.kernel_initializer or keras.initializers.VarianceScaling(0.1),
            regularizer=self.kernel_regularizer,
            dtype="float32",
            autocast=False,
        )

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Routing:
        inputs = keras.ops.cast(inputs, "float32")
        if training and self.jitter:
            noise = keras.random.uniform(
                keras.ops.shape(inputs), 1 - self.jitter, 1 + self.jitter, "float32", seed=self.seed_generator
            )
            inputs = inputs * noise
        logits = keras.ops.matmul(inputs, self.kernel)  # (batch, ..., experts)
        routing = self._choose(logits, mask)
        if training and self.balance_loss and self.top_k is not None:
            self.add_loss(self.balance_loss * routing.balance_loss())
        if training and self.z_loss:
            self.add_loss(self.z_loss * routing.z_loss())
        return routing

    def _choose(self, logits, mask):
        # by its logarithm, because ops.softmax warns of a single expert
        probabilities = keras.ops.exp(keras.ops.log_softmax(logits, axis=-1))  # (batch, ..., experts)
        numbers = keras.ops.arange(self.num_experts)
        if self.top_k is None:
            experts, weights = keras.ops.broadcast_to(numbers, keras.ops.shape(logits)), probabilities
        else:
            experts, weights = self._best(logits, probabilities, numbers)  # (batch, ..., k)
        if mask is not None:
            mask = _dispatch.spread(mask, len(logits.shape))  # (batch, ..., 1)
            experts = keras.ops.where(mask, experts, self.num_experts)
            weights = keras.ops.where(mask, weights, 0.0)
        return Routing(logits, probabilities, experts, weights)

    def _best(self, logits, probabilities, numbers):
        """Indices and weights of the k largest, by rounds of max: unlike top_k and argmax these export everywhere."""
        experts, weights = [], []
        for _ in range(self.top_k):
            best = keras.ops.max(logits, axis=-1, keepdims=True)
            expert = keras.ops.min(keras.ops.where(logits == best, numbers, self.num_experts - 1), axis=-1)  # the first
            chosen = keras.ops.expand_dims(expert, -1) == numbers  # (batch, ..., experts)
            weights.append(keras.ops.sum(keras.ops.where(chosen, probabilities, 0.0), axis=-1))
            logits = keras.ops.where(chosen, float("-inf"), logits)
            experts.append(expert)
        weights = keras.ops.stack(weights, axis=-1)  # (batch, ..., k)
        if self.normalize and self.top_k > 1:
            weights = weights / keras.ops.sum(weights, axis=-1, keepdims=True)
        return keras.ops.stack(experts, axis=-1), weights

    def compute_output_spec(self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Routing:
        lead = tuple(inputs.shape)[:-1]
        every, chosen = (*lead, self.num_experts), (*lead, self.top_k or self.num_experts)
        return Routing(
            keras.KerasTensor(every, "float32"),
            keras.KerasTensor(every, "float32"),
            keras.KerasTensor(chosen, "int32"),
            keras.KerasTensor(chosen, "float32"),
        )

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None) -> Routing:
        return Routing(*[previous_mask] * 4)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "top_k": self.top_k,
            "normalize": self.normalize,
            "jitter": self.jitter,
            "balance_loss": self.balance_loss,
            "z_loss": self.z_loss,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
