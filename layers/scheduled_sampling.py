from collections.abc import Sequence
from typing import Any, Self

import keras

from zoo.layers import _checks
from zoo.layers._typing import Tensor


@keras.saving.register_keras_serializable("zoo")
class ScheduledSampling(keras.Model):
    """A network from source and target to the target's next tokens that learns to live with its own mistakes.

    In training, some tokens of the target are replaced by what the network itself says there, in a first pass that is
    not differentiated; the first token and padding stay. In inference it is the network as it is.

    Args:
        inputs: List `[source, target]` of two symbolic tensors, as in `keras.Model`.
        outputs: Symbolic tensor of (batch, time, vocabulary), the logits, as in `keras.Model`.
        rate: Float, the probability that a token is replaced, from 0 to 1. Defaults to 0.0.

    Reference: Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks";
    Mihaylova & Martins 2019, "Scheduled Sampling for Transformers" (in two passes, as here).
    """

    def __init__(
        self, inputs: Sequence[Tensor] | dict[str, Tensor], outputs: Tensor, name: str | None = None, **kwargs: Any
    ) -> None:  # Keras saves layers of a model whose signature is this
        rate = _checks.real("rate", kwargs.pop("rate", 0.0), 0, 1)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self.rate: float = rate
        self._generator = keras.random.SeedGenerator()

    def call(
        self, inputs: Sequence[Tensor] | dict[str, Tensor], training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if training and self.rate:
            source, target = [inputs[one.name] for one in self.inputs] if isinstance(inputs, dict) else inputs
            logits = super().call([source, target], training=True)  # of the tokens after each
            target = keras.ops.cast(target, "int32")
            said = keras.ops.cast(keras.ops.argmax(keras.ops.stop_gradient(logits), axis=-1), "int32")
            said = keras.ops.concatenate([target[:, :1], said[:, :-1]], axis=1)
            drawn = keras.random.uniform(keras.ops.shape(target), seed=self._generator) < self.rate
            inputs = [source, keras.ops.where(keras.ops.logical_and(drawn, target != 0), said, target)]
        return super().call(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        config = dict(config)
        rate = config.pop("rate")
        model = super().from_config(config, custom_objects)
        model.rate = rate
        return model
