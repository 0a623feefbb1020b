import dataclasses
import math
import numbers
import types
import warnings
from collections.abc import Callable
from typing import Any, Self

import keras

from zoo.layers import _backend, _checks
from zoo.layers._ode.field import Field
from zoo.layers._ode.integrator import Integrator
from zoo.layers._ode.solving import Plan
from zoo.layers._ode.tableaus import TABLEAUS
from zoo.layers._readings import Readings
from zoo.layers._typing import Shape, Tensor

_ADAPTIVE = tuple(name for name, tableau in TABLEAUS.items() if tableau.error is not None)
_HALVES_APART = 0.5


@keras.saving.register_keras_serializable("zoo")
class ODEBlock(keras.layers.Layer):
    """A layer of continuous depth: solves dx/dt = f(x, t), f any layer or model.

    x(t1) = x(t0) + integral from t0 to t1 of f(x(t), t) dt

    The state, time and error norms are float32 (float64 under a float64 policy) whatever the policy; f keeps its own.
    One Euler step is a residual block, x + f(x).

    Args:
        dynamics: Layer or model, f, whose answer has the shape of x. Called as `dynamics(x)`; as `dynamics(x, t)` if
            its `call` has a second argument of that kind, t a tensor without axes; or as `dynamics([x, t])` if it is a
            functional model of two inputs, t in the second's shape. What changes state (BatchNormalization in training)
            or adds losses is refused.
        solver: String. "euler", "midpoint", "heun", "rk4" and "alf" (asynchronous leapfrog: one evaluation a step,
            order 2) take equal steps; "bosh3", "dopri5" and "tsit5" equal or adaptive ones. Defaults to "rk4".
        t: Tuple of two floats, (t0, t1); t1 may be below t0. Defaults to (0.0, 1.0).
        steps: Integer or None, the number of equal steps; None for adaptive ones. Defaults to 8.
        rtol: Float, the relative part of the tolerance: a step is accepted if its error is at most rtol * |x| + atol.
            Defaults to 1e-4.
        atol: Float, the absolute part of the tolerance. Defaults to 1e-6.
        max_steps: Integer, the most attempts of an adaptive solve. A solve that needs more gives NaN, and raises on
            torch. Defaults to 64.
        first_step: Float or None, the length of the first attempt; None chooses it by two evaluations. Defaults to
            None.
        norm: String, how the size of the error is measured: "rms" over the whole batch, or "worst_sample". Adaptive
            steps are one for the batch. Defaults to "rms".
        gradient: String. "checkpoint" records the states and takes each step again: the exact gradient of the steps
            taken, in memory of one state for each. "backprop" lets the backend differentiate the loop (equal steps).
            "adjoint" integrates backward in time, in constant memory, with the solver's error. "reversible" undoes the
            steps, in constant memory and exactly: alf does so by itself, a Runge-Kutta method after McCallum & Foster,
            with twice the evaluations. "auto" is reversible for alf, else checkpoint. Defaults to "auto".
        segments: Integer or None, for gradient="checkpoint" and equal steps. Only that many states are recorded, and
            the states within a segment are computed again. It must divide `steps`. Defaults to None.
        coupling: Float above 0 and at most 1, or "auto": how strongly the two halves of a reversible Runge-Kutta method
            are coupled; "auto" is 1 - 1 / steps, at least 0.99. Defaults to "auto".
        noise: String. "refuse" rejects dynamics that draw random numbers; "frozen" holds the numbers during a solve,
            and needs a seed: Dropout(seed=...). Defaults to "refuse".
        compile_dynamics: String or False, for torch, where a call of a layer costs more than its work: "auto" traces
            the steps, once for each shape; "inductor" compiles them too; False does neither. Defaults to "auto".
        unroll: Boolean, whether equal steps are written out instead of looped: longer to compile; see docs/layers.md on
            convolutions. Defaults to False.

    Call arguments:
        inputs: Floating-point tensor, x(t0), of at least one axis, the first of them the batch.
        training: Boolean, passed on to the dynamics.

    Input shape: (batch, ...).
    Output shape: the same.

    Example:

    >>> decay = keras.layers.Rescaling(-1.0)
    >>> x = keras.ops.ones((2, 3))
    >>> y = ODEBlock(decay, solver="rk4", steps=8)(x)
    >>> bool(keras.ops.all(keras.ops.abs(y - 0.36788) < 1e-5))
    True

    References: Chen, Rubanova, Bettencourt & Duvenaud 2018, "Neural Ordinary Differential Equations" (block and
    adjoint). Zhuang et al. 2021, "MALI" (alf). McCallum & Foster 2024, "Efficient, Accurate and Stable Gradients for
    Neural ODEs" (reversible).
    """

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: str = "rk4",
        t: tuple[float, float] | list[float] = (0.0, 1.0),
        steps: int | None = 8,
        rtol: float = 1e-4,
        atol: float = 1e-6,
        max_steps: int = 64,
        first_step: float | None = None,
        norm: str = "rms",
        gradient: str = "auto",
        segments: int | None = None,
        coupling: float | str = "auto",
        noise: str = "refuse",
        compile_dynamics: str | bool = "auto",
        unroll: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        if not isinstance(dynamics, keras.layers.Layer):
            raise ValueError(f"dynamics must be a Keras layer or model. Received: dynamics={dynamics!r}")
        self.dynamics: keras.layers.Layer = dynamics
        self.solver: str = _checks.choice("solver", solver, (*TABLEAUS, "alf"))
        self.t: tuple[float, ...] | list[float] = t
        self.steps: int | None = steps if steps is None else _checks.whole("steps", steps)
        self.rtol: float = _checks.real("rtol", rtol, 0, above=True)
        self.atol: float = _checks.real("atol", atol, 0, above=True)
        self.max_steps: int = _checks.whole("max_steps", max_steps)
        self.first_step: float | None = (
            first_step if first_step is None else _checks.real("first_step", first_step, 0, above=True)
        )
        self.norm: str = _checks.choice("norm", norm, ("rms", "worst_sample"))
        gradients = ("auto", "checkpoint", "backprop", "adjoint", "reversible")
        self.gradient: str = _checks.choice("gradient", gradient, gradients)
        self.segments: int | None = segments if segments is None else _checks.whole("segments", segments)
        self.coupling: float | str = (
            coupling if coupling == "auto" else _checks.real("coupling", coupling, 0, 1, above=True)
        )
        self.noise: str = _checks.choice("noise", noise, ("refuse", "frozen"))
        if compile_dynamics is not False:
            _checks.choice("compile_dynamics", compile_dynamics, ("auto", "inductor"))
        self.compile_dynamics: str | bool = compile_dynamics
        self.unroll: bool = _checks.flag("unroll", unroll)
        self._check_together()
        sizes = {"nfe": 1, "nfe_backward": 1, "accepted": 1, "rejected": 1, "gap": 1}
        if self._plan.gradient == "adjoint" and steps is None:
            del sizes["nfe_backward"]  # it is known in the backward pass alone, where no state can be changed
        if self._plan.gradient != "reversible" and solver != "alf":
            del sizes["gap"]
        self.readings: Readings = Readings(sizes)
        # the field is the dynamics once more, and neither tracked nor saved
        field = Field(dynamics)
        self._solving = types.SimpleNamespace(field=field, integrator=Integrator(field, noise))

    def _check_together(self):
        if (
            not isinstance(self.t, (list, tuple))
            or len(self.t) != 2
            or any(isinstance(one, bool) or not isinstance(one, numbers.Real) for one in self.t)
            or not all(map(math.isfinite, self.t))
            or self.t[0] == self.t[1]
        ):
            raise ValueError(f"t must be two different finite numbers, (t0, t1). Received: t={self.t!r}")
        self.t = tuple(map(float, self.t))
        adaptive = self.steps is None
        if adaptive and self.solver not in _ADAPTIVE:
            raise ValueError(
                f"Adaptive steps need a solver with an error estimate: {', '.join(map(repr, _ADAPTIVE))}. "
                f"Received: solver={self.solver!r}, steps=None. Give steps, or another solver."
            )
        if adaptive and self.gradient == "backprop":
            raise ValueError(
                "gradient='backprop' needs equal steps. Received: steps=None. "
                "gradient='checkpoint' is the exact gradient of adaptive ones."
            )
        if self.solver == "alf" and self.gradient == "adjoint":
            raise ValueError(
                "gradient='adjoint' integrates by a Runge-Kutta method. Received: solver='alf'. "
                "gradient='reversible' takes constant memory, and is exact."
            )
        if adaptive and self.unroll:
            raise ValueError("unroll needs equal steps. Received: unroll=True, steps=None. Give steps.")
        if self.segments is not None and (
            adaptive or self._plan.gradient != "checkpoint" or self.steps % self.segments != 0
        ):
            raise ValueError(
                "segments must divide steps, and count for gradient='checkpoint' alone. "
                f"Received: segments={self.segments}, steps={self.steps}, gradient={self.gradient!r}"
            )
        if adaptive:
            self._check_tolerance()

    def _check_tolerance(self):
        floor = {"bfloat16": 1e-3, "float16": 1e-4}.get(self.dynamics.compute_dtype, 0)
        if self.rtol < floor:
            warnings.warn(
                f"rtol={self.rtol:g} is below the precision of dynamics in {self.dynamics.compute_dtype}: more "
                f"evaluations, no better answer. Give rtol={floor:g} or more, or float32 dynamics.",
                stacklevel=4,
            )

    @property
    def _plan(self):
        gradient, coupling = self.gradient, self.coupling
        if gradient == "auto":
            gradient = "reversible" if self.solver == "alf" else "checkpoint"
        if coupling == "auto":
            coupling = max(0.99, 1 - 1 / (self.steps or self.max_steps))  # rounding grows by coupling^-steps
        traced = {"auto": "trace", "inductor": "inductor", False: None}[self.compile_dynamics]
        return Plan(
            solver=self.solver,
            start=self.t[0],
            end=self.t[1],
            steps=self.steps,
            rtol=self.rtol,
            atol=self.atol,
            max_steps=self.max_steps,
            first_step=self.first_step,
            norm=self.norm,
            gradient=gradient,
            segments=self.segments,
            coupling=coupling,
            unroll=self.unroll,
            compile=traced,
        )

    def build(self, input_shape: Shape) -> None:
        if not input_shape or not all(size is None or isinstance(size, int) for size in input_shape):
            raise ValueError(
                "ODEBlock takes one tensor of at least one axis, (batch, ...). "
                f"Received: input_shape={input_shape}. Concatenate several."
            )
        if not self.dynamics.built:
            # by a call, because how a layer's `build` takes shapes differs from layer to layer
            state = keras.KerasTensor(tuple(input_shape), self._state_dtype)
            found = self._solving.field(state, keras.KerasTensor((), self._state_dtype)).shape
            if not _checks.agree(found, input_shape):
                raise ValueError(
                    "dynamics must return the shape of its state. "
                    f"Received: state {tuple(input_shape)}, dynamics(state) {tuple(found)}"
                )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        outputs, told = self._solve(inputs, self._plan, training)
        if told and self.readings.wanted(inputs, training):
            self.readings.record(training, **{name: told[name] for name in self.readings.sizes})
            if "gap" in told and not _backend.traced(told["gap"]):
                self._warn_of_gap(float(keras.ops.convert_to_numpy(told["gap"])))
        return keras.ops.cast(outputs, self.compute_dtype)

    def inverse(self, outputs: Tensor, refine: int = 2, training: bool = False) -> Tensor:
        """x(t0) of an x(t1): the solve backward in time, mended by x <- x + inverse(y) - inverse(block(x)).

        A solver's own error is mended by each of `refine` rounds, so that a few steps suffice. What cannot be mended
        is the equation: where f pulls states together, going back blows every rounding error up by as much.

        Args:
            outputs: Tensor, x(t1).
            refine: Integer, the rounds of mending, at least 0. Defaults to 2.
            training: Boolean, passed on to the dynamics. Defaults to False.

        Returns x(t0), a tensor like `outputs`.
        """
        _checks.whole("refine", refine, 0)
        if not self.built:
            self.build(tuple(outputs.shape))
        forth = self._plan
        back = dataclasses.replace(forth, start=forth.end, end=forth.start)
        first = found = self._solve(outputs, back, training)[0]
        for _ in range(refine):
            again = self._solve(found, forth, training)[0]
            found = found + first - self._solve(again, back, training)[0]
        return keras.ops.cast(found, self.compute_dtype)

    @property
    def nfe(self) -> float:
        """Evaluations of f in the last recorded forward pass."""
        return self._last("nfe")

    @property
    def accepted(self) -> float:
        """Steps of the last recorded solve."""
        return self._last("accepted")

    @property
    def rejected(self) -> float:
        """Attempts of the last recorded solve that were tried again with a shorter step."""
        return self._last("rejected")

    @property
    def gap(self) -> float:
        """How far apart the two halves of a reversible solver's state ended, over their size: its health."""
        return self._last("gap")

    def _last(self, name):
        if name not in self.readings.sizes:
            raise ValueError(f"{name} is a reading of reversible solves. Received: gradient={self.gradient!r}")
        return float(keras.ops.convert_to_numpy(self.readings.last(name)))

    def _solve(self, x, plan, training):
        x = keras.ops.cast(x, self._state_dtype)
        return self._solving.integrator(x, plan=plan, training=training)

    def _warn_of_gap(self, gap):
        if not gap <= _HALVES_APART:
            warnings.warn(
                f"{self.name}: the halves of the reversible solver's state ended {gap:.2g} apart, relatively: it is "
                "unstable on dynamics that decay. Take gradient='checkpoint', or more steps.",
                stacklevel=2,
            )

    @property
    def _state_dtype(self):
        return "float64" if self.compute_dtype == "float64" else "float32"

    def rematerialized_call(self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return layer_call  # the gradient recomputes by itself

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        if isinstance(config["dynamics"], dict):
            config = {**config, "dynamics": keras.saving.deserialize_keras_object(config["dynamics"])}
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dynamics": self.dynamics,
            "solver": self.solver,
            "t": self.t,
            "steps": self.steps,
            "rtol": self.rtol,
            "atol": self.atol,
            "max_steps": self.max_steps,
            "first_step": self.first_step,
            "norm": self.norm,
            "gradient": self.gradient,
            "segments": self.segments,
            "coupling": self.coupling,
            "noise": self.noise,
            "compile_dynamics": self.compile_dynamics,
            "unroll": self.unroll,
        }
