from typing import NamedTuple

import keras

from zoo.layers._typing import Tensor


class Routing(NamedTuple):
    """What a `Router` decides: which experts each position goes to, and with what weights.

    A position that is masked goes to no expert: its `experts` are all the number of experts, one past the last, its
    `weights` are 0, and it counts in none of the numbers below.

    Fields:
        logits: float32, (..., num_experts).
        probabilities: float32, (..., num_experts), the softmax of the logits.
        experts: int32, (..., k), the best first; all of them in their order where the router's `top_k` is None.
        weights: float32, (..., k), those that the experts' outputs are summed with.

    Example:

    >>> from zoo.layers import Router
    >>> routing = Router(num_experts=4, top_k=2)(keras.ops.ones((3, 5, 8)))
    >>> routing.experts.shape == (3, 5, 2), routing.load().shape == (4,)
    (True, True)

    Reference: Fedus, Zoph & Shazeer 2021, "Switch Transformers", section 2.2; Zoph et al. 2022, "ST-MoE: Designing
    Stable and Transferable Sparse Expert Models", equation 5.
    """

    logits: Tensor
    probabilities: Tensor
    experts: Tensor
    weights: Tensor

    def load(self) -> Tensor:
        """(num_experts,): the part of all choices that fell on each expert, before capacity drops any; sums to 1."""
        num_experts = self.logits.shape[-1]
        chosen = keras.ops.reshape(self.experts, (-1, 1)) == keras.ops.arange(num_experts)  # (positions * k, experts)
        counts = keras.ops.sum(keras.ops.cast(chosen, "float32"), axis=0)  # (experts,)
        return counts / keras.ops.maximum(keras.ops.sum(counts), 1)

    def entropy(self) -> Tensor:
        """The mean over positions of -sum_e p_e log p_e, in nats."""
        logs = keras.ops.log_softmax(self.logits, axis=-1)
        return self._mean(-keras.ops.sum(self.probabilities * logs, axis=-1))

    def balance_loss(self) -> Tensor:
        """num_experts sum_e load_e mean(p_e): 1 for uniform probabilities, num_experts where one expert gets all.

        Its gradient flows through the probabilities alone. It is no lower bound that 1 is: a little below is possible.
        """
        shares = self._mean(self.probabilities)  # (experts,)
        return self.logits.shape[-1] * keras.ops.sum(self.load() * shares)

    def z_loss(self) -> Tensor:
        """The mean over positions of log(sum_e exp(logit_e))^2, which keeps logits small."""
        return self._mean(keras.ops.square(keras.ops.logsumexp(self.logits, axis=-1)))

    def _mean(self, values: Tensor) -> Tensor:
        """The mean of (..., ) or (..., experts) over the positions that are routed."""
        routed = keras.ops.cast(self.experts[..., 0] < self.logits.shape[-1], "float32")  # (...)
        count = keras.ops.maximum(keras.ops.sum(routed), 1)
        axes = tuple(range(len(routed.shape)))
        if len(values.shape) > len(routed.shape):
            routed = keras.ops.expand_dims(routed, -1)  # (..., 1)
        return keras.ops.sum(keras.ops.where(routed > 0, values, 0.0), axis=axes) / count
