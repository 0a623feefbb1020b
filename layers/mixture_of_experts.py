import inspect
from typing import Any, Self

import keras

from zoo.layers import _backend, _checks, _dispatch, _sublayers
from zoo.layers._readings import Readings
from zoo.layers._typing import Initializer, Shape, Tensor
from zoo.layers.router import Router


@keras.saving.register_keras_serializable("zoo")
class MixtureOfExperts(keras.layers.Layer):
    """A mixture of any Keras layers: all of them, softmax-weighted, or for each token the k best alone.

    y = sum_e w_e expert_e(x),  w the weights of a `Router`

    With `top_k` no expert is computed for a token that did not choose it. Where shapes may be known only at run time
    (TensorFlow in eager and graph mode, torch), this holds for any experts. Under XLA and on JAX it holds for experts
    that are alike (one class, one config but for names and initial values, no state, noise or losses of their own),
    whose weights are stacked. Others need `capacity_factor` to train and are refused without it; their own losses do
    not count in inference. An expert that no token chose runs on a row of zeros, whose outcome nobody uses.
    `ExpertFeedForward` is quicker for the feed-forward layers of Transformers.

    Args:
        experts: List of Keras layers of one output shape. They are this layer's from now on.
        top_k: Integer or None, how many experts a token goes to. None is all of them, weighted by the router's softmax.
            Defaults to None.
        routing: String. "token": each position of the leading axes is routed by itself, and experts get tokens,
            (tokens, features). "example": each example is routed by the mean of its features over all positions, and
            experts get examples, (examples, ..., features), such as images. Defaults to "token".
        capacity_factor: Float or None. In training an expert takes at most ceil(capacity_factor k tokens / experts),
            first choices before second ones, with the factor rounded to two decimals; what is over gets 0 from it. None
            drops nothing. Defaults to None.
        normalize: Boolean, as in `Router`. Defaults to True.
        jitter: Float, as in `Router`. Defaults to 0.0.
        balance_loss: Float, as in `Router`. Defaults to 0.01.
        z_loss: Float, as in `Router`. Defaults to 0.0.
        router_initializer: Initializer for the router's weights; None is the router's own. Defaults to None.
        seed: Integer or None, the seed of the jitter. Defaults to None.

    Call arguments:
        inputs: Tensor of (batch, ..., features).
        mask: Boolean tensor of (batch, ...), or None. A token or example of which nothing is True is not routed, counts
            for nothing, and gets 0. With routing="example" it is passed on to experts that take it, and top_k must be
            None.
        training: Boolean, whether capacity, jitter and losses act; passed on to the experts.

    Input shape: (batch, ..., features).
    Output shape: with routing="token" (batch, ..., the experts' output), else (batch, the experts' output).

    Readings: `load` of each expert, of sum 1; `entropy` of the router, in nats; `drop_rate`.

    Example:

    >>> layer = MixtureOfExperts([keras.layers.Dense(5) for _ in range(4)], top_k=2)
    >>> layer(keras.ops.ones((2, 3, 8))).shape == (2, 3, 5)
    True

    Reference: Jacobs, Jordan, Nowlan & Hinton 1991, "Adaptive Mixtures of Local Experts"; Shazeer et al. 2017,
    "Outrageously Large Neural Networks".
    """

    def __init__(
        self,
        experts: list[keras.layers.Layer] | tuple[keras.layers.Layer, ...],
        top_k: int | None = None,
        routing: str = "token",
        capacity_factor: float | None = None,
        normalize: bool = True,
        jitter: float = 0.0,
        balance_loss: float = 0.01,
        z_loss: float = 0.0,
        router_initializer: Initializer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(experts, (list, tuple)) or not experts:
            raise ValueError(f"experts must be a list of at least one Keras layer. Received: experts={experts!r}")
        for expert in experts:
            if not isinstance(expert, keras.layers.Layer):
                raise ValueError(f"experts must be Keras layers. Received: {expert!r} among experts")
        self.autocast = False  # each expert casts by its own policy
        self.experts: list[keras.layers.Layer] = list(experts)
        self.top_k: int | None = top_k
        self.routing: str = _checks.choice("routing", routing, ("token", "example"))
        self.capacity_factor: float | None = _dispatch.check_capacity_factor(capacity_factor, top_k)
        self.router: Router = Router(
            len(experts),
            top_k,
            normalize,
            jitter,
            balance_loss,
            z_loss,
            router_initializer,
            seed=seed,
            name="router",
            dtype=self.dtype_policy,
        )
        self.readings: Readings = Readings({"load": len(experts), "entropy": 1, "drop_rate": 1})
        self.supports_masking: bool = routing == "token" or top_k is None

    def build(self, input_shape: Shape) -> None:
        features = _checks.known("MixtureOfExperts", input_shape, -1)
        self.router.build((None, features))
        shape = self._expert_input(input_shape)
        outputs = []
        for expert in self.experts:
            try:
                if not expert.built:
                    expert.build(shape)
                outputs.append(tuple(expert.compute_output_shape(shape)))
            except ValueError as error:
                if self.routing == "token" and len(input_shape) > 2:
                    raise ValueError(
                        f"Expert {expert.name} cannot take tokens of {shape}. If it needs whole examples, give "
                        f"routing='example'. It says: {error}"
                    ) from error
                raise
        for expert, output in zip(self.experts, outputs, strict=True):
            if output != outputs[0]:
                raise ValueError(
                    f"experts must have one output shape. Received: {outputs[0]} of {self.experts[0].name}, "
                    f"{output} of {expert.name}"
                )
        self._stacked = _alike(self.experts)
        free = self.top_k is None or self.capacity_factor is not None or (self._stacked and not _stateful(self.experts))
        self.supports_jit: bool = free or keras.backend.backend() != "tensorflow"  # "auto" then compiles without XLA

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Tensor:
        if self.routing == "token":
            rows = keras.ops.reshape(inputs, (-1, inputs.shape[-1]))  # (n, features)
            features, valid, mask = rows, _dispatch.flat(mask, inputs), None
        else:
            mask = mask if self.top_k is None else None
            rows, (features, valid) = inputs, _pooled(inputs, mask)  # (n, ..., features), (n, features)
        routing = self.router(features, mask=valid, training=training)
        if self.top_k is None:
            outputs, drop_rate = self._mix_all(rows, mask, routing.weights, training), 0.0
        else:
            outputs, drop_rate = self._mix_chosen(rows, routing, training)  # (n, ...)
        _dispatch.record(self.readings, routing, drop_rate, training)
        if self.routing == "token":
            outputs = keras.ops.reshape(outputs, (*keras.ops.shape(inputs)[:-1], *outputs.shape[1:]))
        return outputs

    def _mix_all(self, rows, mask, shares, training):
        total = 0.0
        for index, expert in enumerate(self.experts):
            outputs = keras.ops.cast(_run(expert, rows, training, mask), shares.dtype)  # float32, for an exact sum
            total = total + _dispatch.spread(shares[:, index], len(outputs.shape)) * outputs
        return keras.ops.cast(total, self.compute_dtype)

    def _mix_chosen(self, rows, routing, training):
        capacity = None
        if training and self.capacity_factor is not None:
            capacity = _dispatch.Capacity(self.capacity_factor, self.top_k, len(self.experts))
        if not _backend.static_shapes():
            layout, sizes = _dispatch.packed(routing.experts, len(self.experts), capacity, least=1)
            runs = _backend.split(_dispatch.dispatch(rows, layout, training), sizes, len(self.experts))
            outputs = self._run_each(runs, training)
        elif capacity is not None:
            layout, _ = _dispatch.slotted(routing.experts, len(self.experts), capacity)
            runs = keras.ops.split(_dispatch.dispatch(rows, layout, training), len(self.experts), axis=0)
            outputs = self._run_each(runs, training)
        elif self._stacked and not _quantized(self.experts):
            layout, spill = _dispatch.spilled(routing.experts, len(self.experts))
            outputs = self._run_stacked(_dispatch.dispatch(rows, layout, training), spill, training)
        elif training:
            raise ValueError(
                f"The experts of {self.name} are not alike, so that XLA and JAX cannot train them with "
                f"top_k={self.top_k} without computing every expert for every token. Give capacity_factor=, or experts "
                "of one config, or top_k=None, or on TensorFlow compile(jit_compile=False)."
            )
        else:
            layout, spill = _dispatch.spilled(routing.experts, len(self.experts), room=0)
            outputs = self._run_blocks(_dispatch.dispatch(rows, layout, training), spill)
        outputs = keras.ops.cast(outputs, self.compute_dtype)  # (slots, ...)
        return _dispatch.combine(outputs, routing.weights, layout, training), layout.drop_rate

    def _run_each(self, runs, training):
        outputs = [_run(expert, run, training) for expert, run in zip(self.experts, runs, strict=True)]
        return keras.ops.concatenate(outputs, axis=0)  # (slots, ...)

    def _run_stacked(self, rows, spill, training):
        weights = zip(*([variable.value for variable in _floats(expert)] for expert in self.experts), strict=True)
        weights = tuple(keras.ops.stack(values) for values in weights)  # each (experts, ...)

        def feed_one(rows, weights):
            return self._run_with(weights, rows, training)

        def feed_all(rows, weights):
            return keras.ops.vectorized_map(lambda both: feed_one(*both), (rows, weights))

        return _dispatch.feed_spilled(feed_all, feed_one, rows, spill, weights)

    def _run_with(self, weights, rows, training):
        """The first expert's function, with weights of any."""
        expert = self.experts[0]
        with keras.StatelessScope(list(zip(_floats(expert), weights, strict=True)), collect_losses=True) as scope:
            before = [scope.get_current_value(variable) for variable in expert.variables]
            outputs = _run(expert, rows, training)
            after = [scope.get_current_value(variable) for variable in expert.variables]
        if (training and scope.losses) or any(one is not other for one, other in zip(before, after, strict=True)):
            raise ValueError(
                f"The experts of {self.name} change a state, draw noise or add losses, so that XLA and JAX cannot "
                f"train them stacked with top_k={self.top_k}. Give capacity_factor=, or top_k=None, or on TensorFlow "
                "compile(jit_compile=False)."
            )
        return outputs

    def _run_blocks(self, rows, spill):
        """Experts that are not alike, in inference: a loop over the blocks in use, each of which takes its expert."""
        blocks = keras.ops.reshape(rows, (-1, spill.block, *rows.shape[1:]))  # (blocks, block, ...)

        def branch(expert):
            values = [(variable, variable.value) for variable in expert.variables]  # a scope hides those around it

            def run(rows):
                with keras.StatelessScope(values):  # a loss must not leave the loop
                    return keras.ops.cast(_run(expert, rows, False), self.compute_dtype)

            return run

        branches = [branch(expert) for expert in self.experts]

        def body(i, outputs):
            return _dispatch.put(
                outputs, i, keras.ops.switch(_dispatch.at(spill.owners, i), branches, _dispatch.at(blocks, i))
            )

        inner = self.experts[0].compute_output_shape((None, *rows.shape[1:]))[1:]
        outputs = keras.ops.zeros((*keras.ops.shape(blocks)[:2], *inner), self.compute_dtype)
        return keras.ops.reshape(keras.ops.fori_loop(0, spill.used, body, outputs), (-1, *inner))  # (slots, ...)

    def _expert_input(self, input_shape):
        return (None, input_shape[-1]) if self.routing == "token" else (None, *input_shape[1:])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inner = self.experts[0].compute_output_shape(self._expert_input(input_shape))[1:]
        return (*(input_shape[:-1] if self.routing == "token" else input_shape[:1]), *inner)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None) -> Tensor | None:
        if self.routing == "token" or previous_mask is None:
            return previous_mask
        mask = self.experts[0].compute_mask(inputs, previous_mask)
        return mask if len(self.compute_output_shape(tuple(inputs.shape))) > len(previous_mask.shape) else None

    def get_config(self) -> dict[str, Any]:
        router = self.router.get_config()
        return {
            **super().get_config(),
            "experts": list(self.experts),  # the layers themselves: Keras saves one that two mixtures share once
            "top_k": self.top_k,
            "routing": self.routing,
            "capacity_factor": self.capacity_factor,
            **{name: router[name] for name in ("normalize", "jitter", "balance_loss", "z_loss", "seed")},
            "router_initializer": router["kernel_initializer"],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "experts": [_sublayers.revive(expert) for expert in config["experts"]]})


def _run(expert: keras.layers.Layer, rows: Tensor, training: bool | None, mask: Tensor | None = None) -> Tensor:
    """The expert's outputs; it is told what it takes, because a gradient may run it outside of this layer's call."""
    taken = inspect.signature(expert.call).parameters
    told = {name: value for name, value in (("training", training), ("mask", mask)) if name in taken}
    return expert(rows, **told)


def _pooled(inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """(mean over all positions that the mask leaves, (n, features); whether there are any, (n,), or None)"""
    pooled = keras.ops.cast(inputs, "float32")
    rank = len(inputs.shape)
    if mask is None:
        return (keras.ops.mean(pooled, axis=tuple(range(1, rank - 1))) if rank > 2 else pooled), None
    inner = tuple(range(len(mask.shape), rank - 1))
    pooled = keras.ops.mean(pooled, axis=inner) if inner else pooled  # (the mask's, features)
    axes = tuple(range(1, len(mask.shape)))
    if not axes:
        return pooled, mask
    there = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)  # (the mask's, 1)
    count = keras.ops.maximum(keras.ops.sum(there, axis=axes), 1)  # (n, 1)
    return keras.ops.sum(pooled * there, axis=axes) / count, keras.ops.any(mask, axis=axes)


def _floats(expert: keras.layers.Layer) -> list[keras.Variable]:
    return [variable for variable in expert.variables if keras.backend.is_float_dtype(variable.dtype)]


def _stateful(experts: list[keras.layers.Layer]) -> bool:
    return any(not variable.trainable for expert in experts for variable in expert.variables)


def _quantized(experts: list[keras.layers.Layer]) -> bool:
    """Whether weights are whole numbers, which are not stacked."""
    layers = [layer for expert in experts for layer in expert._flatten_layers()]
    return any(getattr(layer, "quantization_mode", None) for layer in layers)


def _alike(experts: list[keras.layers.Layer]) -> bool:
    """Whether experts are of one class and one config, but for names and what draws their first weights."""
    if len({type(expert) for expert in experts}) > 1:
        return False
    shapes = [[(tuple(one.shape), one.dtype) for one in expert.variables] for expert in experts]
    if any(shape != shapes[0] for shape in shapes):
        return False
    configs = [_canonical(keras.saving.serialize_keras_object(expert)) for expert in experts]
    return all(config == configs[0] for config in configs)


def _canonical(config: Any) -> Any:
    """A config with each name replaced by the number of its first occurrence, and without what draws weights."""
    names: dict[str, int] = {}

    def collect(value):
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], len(names))
            for key, one in value.items():
                if key != "dtype":  # the name of a policy is what it does
                    collect(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                collect(one)

    def plain(value, names=names):
        if isinstance(value, dict):
            return {key: plain(one, {} if key == "dtype" else names) for key, one in value.items() if not _draws(key)}
        if isinstance(value, (list, tuple)):
            return [plain(one, names) for one in value]
        return ("name", names[value]) if isinstance(value, str) and value in names else value

    collect(config)
    return plain(config)


def _draws(key: str) -> bool:
    return key.endswith(("initializer", "seed")) or key in ("build_config", "compile_config", "shared_object_id")
