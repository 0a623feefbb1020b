"""dx/dt = f(x, t): any Keras layer or model behind one signature, as a pure function of its variables' values."""

import inspect

import keras

from zoo.layers import _backend, _checks
from zoo.layers._readings import silenced


class Field(keras.layers.Layer):
    """f(x, t) of `dynamics`, called as it wants to be: on x, on (x, t), or on [x, t].

    It is a layer, because a solver's backward pass runs outside every call of a layer: `training`, given to this one,
    reaches the layers inside. In float32 and without autocasting, so that the dynamics' own policy decides.
    """

    def __init__(self, dynamics):
        super().__init__(name="dynamics", dtype="float32", autocast=False)
        self.dynamics = dynamics

    def call(self, x, t, training=None):
        form = _form(self.dynamics)
        if form == "x":
            return self.dynamics(x)
        if form == "x, t":
            return self.dynamics(x, t)
        shape = self.dynamics.inputs[1].shape  # of t, such as (batch,) or (batch, 1)
        if shape:
            t = keras.ops.broadcast_to(t, (keras.ops.shape(x)[0], *shape[1:]))
        return self.dynamics([x, t])


def _form(dynamics):
    inputs = getattr(dynamics, "inputs", None)
    if isinstance(inputs, (list, tuple)) and len(inputs) == 2:
        return "[x, t]"
    parameters = list(inspect.signature(dynamics.call).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 or positional[1].name in ("training", "mask"):
        return "x"
    return "x, t" if positional[1].default is inspect.Parameter.empty or positional[1].name == "t" else "x"


class Slope:
    """`Field` with its state outside: `slope(x, t, weights, fixed)`, which changes nothing and draws nothing new.

    Every variable is mapped to a value that is handed in, because what a closure captures gets no gradient on torch,
    and fails on JAX.

    Args:
        field: a `Field`.
        training: whether it trains.
        frozen: whether noise is the same at every evaluation, instead of refused.
    """

    def __init__(self, field, training, frozen):
        self.field, self.training, self.frozen = field, training, frozen
        self.trainable = list(field.trainable_variables)
        known = {id(variable) for variable in self.trainable}
        self.fixed = [variable for variable in field.variables if id(variable) not in known]

    @property
    def seeds(self):
        """Indices into `fixed` of the states of random generators."""
        return [index for index, variable in enumerate(self.fixed) if variable.name == "seed_generator_state"]

    def __call__(self, x, t, weights, fixed):
        return self._evaluate(x, t, weights, fixed)[0]

    def advanced(self, x, t, weights, fixed):
        """Values of `fixed` after one evaluation: the generators have moved on."""
        scope = self._evaluate(x, t, weights, fixed)[1]
        return [scope.get_current_value(variable) for variable in self.fixed]

    def _evaluate(self, x, t, weights, fixed):
        mapping = [*zip(self.trainable, weights, strict=True), *zip(self.fixed, fixed, strict=True)]
        with keras.StatelessScope(mapping, collect_losses=True) as scope, silenced():
            before = dict(scope.state_mapping)
            drawn = _backend.random_state(x)
            slope = self.field(x, t, training=self.training)
            drawn = _backend.random_state(x) != drawn
        self._check(scope, before, drawn)
        if not _checks.agree(slope.shape, x.shape):
            raise ValueError(
                "dynamics must return the shape of its state. "
                f"Received: state {tuple(x.shape)}, dynamics(state) {tuple(slope.shape)}"
            )
        return keras.ops.cast(slope, x.dtype), scope

    def _check(self, scope, before, drawn):
        name = self.field.dynamics.name
        if scope.losses:
            raise ValueError(
                f"dynamics must not add losses: it is evaluated many times a call. Received: {len(scope.losses)} "
                f"losses of {name!r}. Take activity_regularizer and add_loss out of it; kernel regularizers stay."
            )
        if drawn:
            raise ValueError(
                "dynamics must not draw from the global random generator: the recomputing backward pass would draw "
                f"other noise. Received: {name!r}, with a Dropout without seed, perhaps. Give it seed=..., and "
                "noise='frozen' to ODEBlock."
            )
        changed = [key for key, value in scope.state_mapping.items() if before.get(key) is not value]
        allowed = {id(self.fixed[index]) for index in self.seeds} if self.frozen else set()
        refused = [variable for variable in self.fixed if id(variable) in set(changed) - allowed]
        if any(variable.name == "seed_generator_state" for variable in refused):
            raise ValueError(
                "dynamics must not draw new noise at each evaluation: that is no differential equation. "
                f"Received: {refused[0].path}, which changed. noise='frozen' holds it still during a solve."
            )
        if refused or set(changed) - allowed:
            which = refused[0].path if refused else f"a variable outside of {name!r}"
            raise ValueError(
                "dynamics must not change state: it is evaluated many times a call. "
                f"Received: {which}, which changed. In place of BatchNormalization take GroupNormalization or "
                "LayerNormalization, or freeze it (trainable=False)."
            )
