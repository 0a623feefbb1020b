"""x(end) from x(start), with whatever gradient the plan says."""

import dataclasses
import types

import keras

from zoo.layers import _backend
from zoo.layers._ode.field import Slope
from zoo.layers._ode.solving import Adaptive, Fixed


class Integrator(keras.layers.Layer):
    """Solves a `Plan` for a `Field`: x -> (x(end), readings).

    It is a layer in float32 without autocasting, so that the variables that it reads are whole, and not what a mixed
    policy around it makes of them.
    """

    def __init__(self, field, noise):
        super().__init__(dtype="float32", autocast=False)
        self.field, self.frozen = field, noise == "frozen"
        self._solvers = types.SimpleNamespace(found={})  # Keras does not track what it does not know

    def build(self, input_shape):
        """Nothing: Keras would solve once to see."""

    def call(self, x, plan, training=None):
        slope = Slope(self.field, bool(training), self.frozen and bool(training))
        if slope.frozen and slope.seeds:
            plan = dataclasses.replace(plan, compile=None)  # a traced graph would hold one seed for ever
        weights = tuple(_backend.read(variable) for variable in slope.trainable)
        fixed = tuple(_backend.read(variable) for variable in slope.fixed)
        # kept, because on JAX and torch a solver is compiled: for those that train, which may change
        key = plan, slope.training, *map(id, slope.trainable)
        if key not in self._solvers.found:
            self._solvers.found[key] = self._solver(slope, plan)
        result = self._solvers.found[key](x, weights, fixed)
        if slope.frozen and slope.seeds:
            start = keras.ops.cast(plan.start, x.dtype)
            for variable, value in zip(slope.fixed, slope.advanced(x, start, weights, fixed), strict=True):
                if variable.name == "seed_generator_state":
                    variable.assign(value)
        return result

    def _solver(self, slope, plan):
        solve = (Fixed if plan.steps else Adaptive)(slope, plan)
        backward = None if plan.gradient == "backprop" else solve.backward
        return _backend.solver(solve.forward, backward, slope.training)
