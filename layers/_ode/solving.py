"""Many steps, and the gradient of them all.

A solve is `forward(x, weights, fixed, record)` -> (x(t1), readings, residuals), and `backward(residuals, weights,
fixed, bar)` -> (cotangent of x, cotangents of the weights). Loops, buffers and scalars are the backend's: on torch
scalars are Python numbers and loops are Python's, so that only tensors cost anything.

    checkpoint   the states are recorded; each step is taken again, and the cotangent pulled through it
    reversible   the steps are undone, and the cotangent pulled through each
    adjoint      state and adjoint are integrated backward
    backprop     the backend differentiates the loop
"""

import dataclasses

import keras

from zoo.layers import _backend
from zoo.layers._ode import methods
from zoo.layers._ode.tableaus import TABLEAUS

EXHAUSTED = (
    "The solver took max_steps={max_steps} attempts and did not reach t={end}: the dynamics are stiff, not finite, or "
    "need more steps. Raise max_steps, rtol or atol, or take equal steps (steps=...)."
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to solve: the arguments of `ODEBlock` that decide it, `gradient` and `coupling` resolved."""

    solver: str
    start: float
    end: float
    steps: int | None
    rtol: float
    atol: float
    max_steps: int
    first_step: float | None
    norm: str
    gradient: str
    segments: int | None
    coupling: float
    unroll: bool
    compile: str | None

    @property
    def method(self):
        if self.solver == "alf":
            return methods.Leapfrog()
        tableau = TABLEAUS[self.solver]
        return methods.Reversible(tableau, self.coupling) if self.gradient == "reversible" else self.base

    @property
    def base(self):
        return methods.RungeKutta(TABLEAUS[self.solver])

    @property
    def adjoint(self):
        return methods.Adjoint(TABLEAUS[self.solver])


class _Solve:
    """What both kinds of steps share: a step, taken, taken again, and undone, as pure functions of tensors."""

    def __init__(self, slope, plan):
        self.slope, self.plan, self.method = slope, plan, plan.method
        mode = plan.compile
        self.start = _backend.compiled(self._start, mode)
        self.gap = _backend.compiled(self._gap, mode)
        self.step = _backend.compiled(self._step, mode, differentiable=plan.gradient == "backprop")
        self.pull_start = _backend.compiled(self._pull_start, mode)
        self.pull_step = _backend.compiled(self._pull_step, mode)
        self.undo = _backend.compiled(self._undo, mode)

    def bound(self, weights, fixed):
        return lambda x, t: self.slope(x, t, weights, fixed)

    def open(self, fixed):
        return lambda x, t, weights: self.slope(x, t, weights, fixed)

    def _start(self, x, t, weights, fixed):
        return self.method.start(self.bound(weights, fixed), x, t)

    def _gap(self, state, t, weights, fixed):
        return self.method.gap(self.bound(weights, fixed), state, t)

    def _step(self, state, t, h, weights, fixed):
        return self.method.step(self.bound(weights, fixed), state, t, h)

    def _pull_start(self, x, bar, total, t, weights, fixed):
        def start(x, weights):
            return self.method.start(self.bound(weights, fixed), x, t)

        _, (bar, grads) = _backend.vjp(start, (x, weights), bar)
        return bar, methods.added(total, grads)

    def _pull_step(self, state, bar, total, t, h, weights, fixed):
        def step(state, weights):
            return self.method.step(self.bound(weights, fixed), state, t, h)

        _, (bar, grads) = _backend.vjp(step, (state, weights), bar)
        return bar, methods.added(total, grads)

    def _undo(self, state, bar, total, t, h, weights, fixed):
        return self.method.undo(self.open(fixed), state, bar, total, t, h, weights)

    def gap_of(self, state, weights, fixed):
        end = _backend.scalar(self.plan.end, state[0].dtype)
        return {"gap": self.gap(state, end, weights, fixed)} if len(state) > 1 else {}

    def pull_back(self, count, clock, read, bar, total, weights, fixed):
        """Cotangents through `count` steps, the last first, each taken again from its recorded state."""

        def body(i, carry):
            index = count - 1 - i
            return self.pull_step(read(index), *carry, *clock(index), weights, fixed)

        return _backend.repeat(count, body, (bar, total), unroll=self.plan.unroll)

    def undo_all(self, count, clock, state, bar, total, weights, fixed):
        """The same through reversible steps, which need no record."""

        def body(i, carry):
            return self.undo(*carry, *clock(count - 1 - i), weights, fixed)

        return _backend.repeat(count, body, (state, bar, total), unroll=self.plan.unroll)[1:]

    def finish(self, x, bar, total, weights, fixed):
        """Cotangent of x, from those of the first state."""
        if len(bar) == 1:
            return bar[0], total
        return self.pull_start(x, bar, total, _backend.scalar(self.plan.start, x.dtype), weights, fixed)

    def first_bar(self, bar, state):
        return bar, *(keras.ops.zeros_like(part) for part in state[1:])


class Fixed(_Solve):
    """Equal steps."""

    def __init__(self, slope, plan):
        super().__init__(slope, plan)
        if plan.gradient == "adjoint":
            self.adjoint = plan.adjoint
            self.adjoint_step = _backend.compiled(self._adjoint_step, plan.compile)

    def _adjoint_step(self, state, total, t, h, weights, fixed):
        return self.adjoint.step(self.open(fixed), state, total, t, h, weights)

    def clock(self, dtype):
        """i -> (t_i, h)"""
        start, h = self.plan.start, (self.plan.end - self.plan.start) / self.plan.steps
        return lambda i: (start + h * _backend.scalar(i, dtype), _backend.scalar(h, dtype))

    def march(self, state, first, count, weights, fixed, record):
        """(the state `count` steps after step `first`, those between, where `record`)"""
        clock = self.clock(state[0].dtype)
        saved = tuple(_backend.buffer(count, part) for part in state) if record else ()

        def body(i, carry):
            state, saved = carry
            saved = tuple(_backend.put(one, i, part) for one, part in zip(saved, state, strict=False))
            return self.step(state, *clock(first + i), weights, fixed), saved

        return _backend.repeat(count, body, (state, saved), unroll=self.plan.unroll)

    def forward(self, x, weights, fixed, record):
        plan = self.plan
        state = self.start(x, _backend.scalar(plan.start, x.dtype), weights, fixed)
        length = plan.steps // (plan.segments or 1)
        record = record and plan.gradient == "checkpoint"
        if record and plan.segments:
            saved = tuple(_backend.buffer(plan.segments, part) for part in state)

            def body(i, carry):
                state, saved = carry
                saved = tuple(_backend.put(one, i, part) for one, part in zip(saved, state, strict=True))
                return self.march(state, i * length, length, weights, fixed, False)[0], saved

            state, saved = _backend.repeat(plan.segments, body, (state, saved), unroll=plan.unroll)
        else:
            state, saved = self.march(state, 0, plan.steps, weights, fixed, record)
        return state[0], self.readings(state, weights, fixed), (x, state, saved)

    def backward(self, residuals, weights, fixed, bar):
        x, state, saved = residuals
        plan, clock = self.plan, self.clock(x.dtype)
        total = tuple(keras.ops.zeros_like(weight) for weight in weights)
        if plan.gradient == "adjoint":
            return self.integrate(state[0], bar, total, weights, fixed)
        bar = self.first_bar(bar, state)
        if plan.gradient == "reversible":
            bar, total = self.undo_all(plan.steps, clock, state, bar, total, weights, fixed)
        elif plan.segments:
            length = plan.steps // plan.segments

            def body(i, carry):
                index = plan.segments - 1 - i
                state = tuple(_backend.get(one, index) for one in saved)
                _, inner = self.march(state, index * length, length, weights, fixed, True)
                return self.pull_back(
                    length,
                    lambda i: clock(index * length + i),
                    lambda i: tuple(_backend.get(one, i) for one in inner),
                    *carry,
                    weights,
                    fixed,
                )

            bar, total = _backend.repeat(plan.segments, body, (bar, total), unroll=plan.unroll)
        else:
            read = lambda i: tuple(_backend.get(one, i) for one in saved)  # noqa: E731
            bar, total = self.pull_back(plan.steps, clock, read, bar, total, weights, fixed)
        return self.finish(x, bar, total, weights, fixed)

    def integrate(self, x, a, total, weights, fixed):
        clock = self.clock(x.dtype)

        def body(i, carry):
            t, h = clock(self.plan.steps - i)
            return self.adjoint_step(*carry, t, -h, weights, fixed)

        (_, a), total = _backend.repeat(self.plan.steps, body, ((x, a), total), unroll=self.plan.unroll)
        return a, total

    def readings(self, state, weights, fixed):
        plan, method = self.plan, self.method
        taken = plan.steps * method.evaluations
        again = {"checkpoint": taken + method.extra // 2, "reversible": taken + method.extra // 2, "adjoint": taken}
        if plan.segments:
            again["checkpoint"] += taken
        return {
            "nfe": float(taken + method.extra),
            "nfe_backward": float(again.get(plan.gradient, 0)),
            "accepted": float(plan.steps),
            "rejected": 0.0,
            **self.gap_of(state, weights, fixed),
        }


class Adaptive(_Solve):
    """Steps as long as the tolerance allows: accepted where error / tolerance is at most 1, else tried again."""

    def __init__(self, slope, plan):
        super().__init__(slope, plan)
        self.tableau = TABLEAUS[plan.solver]
        self.sign = 1.0 if plan.end > plan.start else -1.0
        self.span = abs(plan.end - plan.start)
        self.begin = _backend.compiled(self._begin, plan.compile)
        self.attempt = _backend.compiled(self._attempt, plan.compile)
        if plan.gradient == "adjoint":
            self.adjoint = plan.adjoint
            self.adjoint_begin = _backend.compiled(self._adjoint_begin, plan.compile)
            self.adjoint_attempt = _backend.compiled(self._adjoint_attempt, plan.compile)

    def ratio(self, error, before, after):
        """Size of the error, its tolerance 1."""
        tolerance = self.plan.atol + self.plan.rtol * keras.ops.maximum(keras.ops.abs(before), keras.ops.abs(after))
        return keras.ops.stop_gradient(methods.rms(error / keras.ops.cast(tolerance, error.dtype), self.plan.norm))

    def _begin(self, x, t, weights, fixed):
        f = self.bound(weights, fixed)
        slope = f(x, t)
        state = (x, slope) if self.plan.gradient != "reversible" else (x, x)
        return state, self._first_step(f, x, slope, t)

    def _first_step(self, f, x, slope, t):
        """Hairer, Norsett & Wanner 1993, "Solving Ordinary Differential Equations I", section II.4."""
        if self.plan.first_step is not None:
            return keras.ops.full_like(t, self.plan.first_step)
        ops = keras.ops
        scale = ops.cast(self.plan.atol + self.plan.rtol * ops.abs(x), x.dtype)
        size, speed = (methods.rms(part / scale, self.plan.norm) for part in (x, slope))
        small = ops.logical_or(size < 1e-5, speed < 1e-5)
        trial = ops.cast(ops.where(small, 1e-6, 0.01 * size / ops.where(small, 1.0, speed)), x.dtype)
        bent = methods.rms((f(x + self.sign * trial * slope, t + self.sign * trial) - slope) / scale, self.plan.norm)
        bent = ops.maximum(speed, bent / trial)
        still = bent <= 1e-15
        power = (0.01 / ops.where(still, 1.0, bent)) ** (1 / self.tableau.order)
        h = ops.minimum(100 * trial, ops.where(still, ops.maximum(1e-6, trial * 1e-3), power))
        return ops.cast(ops.stop_gradient(h), x.dtype)

    def _attempt(self, state, t, h, weights, fixed):
        return self.method.attempt(self.bound(weights, fixed), state, t, h, self.ratio)

    def _adjoint_begin(self, x, a, t, weights, fixed):
        return self.adjoint.begin(self.open(fixed), x, a, t, weights)

    def _adjoint_attempt(self, state, total, t, h, weights, fixed):
        state, total, ratio = self.adjoint.attempt(self.open(fixed), state, total, t, h, weights, self.ratio)
        return (state, total), ratio

    def march(self, attempt, state, h, start, sign, saved, keep):
        """Until `span` is gone.

        Args:
            attempt: state, t, h -> (state at t + h, error / tolerance).
            state: a structure of tensors.
            h: the first step's length, a scalar.
            start: t of the state.
            sign: 1 forward, -1 backward.
            saved: buffers.
            keep: saved, n, state, t, h -> saved, before a step is tried: what a rejected one left is overwritten.

        Returns:
            (state, arrived, next h, accepted, attempts, saved)
        """
        scalar, pick, span = _backend.scalar, _backend.pick, self.span
        dtype = keras.tree.flatten(state)[0].dtype

        def more(carry):
            _, _, gone, _, _, _ = carry
            return gone < span

        def body(carry):
            state, saved, gone, h, accepted, attempts = carry
            last = h > 0.99 * (span - gone)
            taken = pick(last, span - gone, h)
            t, step = start + sign * gone, sign * taken
            saved = keep(saved, accepted, state, t, step)
            after, ratio = attempt(state, t, step)
            ratio = _backend.number(ratio)
            good = ratio <= 1.0
            state = pick(good, after, state)
            gone = pick(good, pick(last, scalar(span, dtype), gone + taken), gone)
            return (
                state,
                saved,
                gone,
                taken * self.factor(ratio, good, dtype),
                accepted + pick(good, 1, 0),
                attempts + 1,
            )

        counters = _backend.count(0), _backend.count(0)
        carry = state, saved, scalar(0.0, dtype), h, *counters
        state, saved, gone, h, accepted, attempts = _backend.until(more, body, carry, self.plan.max_steps)
        return state, gone >= span, h, accepted, attempts, saved

    def factor(self, ratio, good, dtype):
        """Of the next step: 0.9 ratio^(-1/order), from 0.2 (1 after a good step) to 10; NaN is as bad as can be."""
        ideal = 0.9 * _backend.highest(ratio, 1e-10) ** (-1 / self.tableau.order)
        least = _backend.pick(good, _backend.scalar(1.0, dtype), _backend.scalar(0.2, dtype))
        return _backend.pick(ideal > least, _backend.lowest(ideal, 10.0), least)

    def forward(self, x, weights, fixed, record):
        plan = self.plan
        start = _backend.scalar(plan.start, x.dtype)
        state, h = self.begin(x, start, weights, fixed)
        kept = 2 if plan.gradient == "reversible" else 1
        saved = ()
        if record and plan.gradient != "adjoint":
            times = [_backend.scalar_buffer(plan.max_steps, x.dtype) for _ in range(2)]
            parts = state[:kept] if plan.gradient == "checkpoint" else ()
            saved = (*times, *(_backend.buffer(plan.max_steps, part) for part in parts))

        def keep(saved, n, state, t, step):
            return tuple(_backend.put(one, n, part) for one, part in zip(saved, (t, step, *state), strict=False))

        def attempt(state, t, step):
            return self.attempt(state, t, step, weights, fixed)

        h = _backend.number(h)
        state, arrived, h, accepted, attempts, saved = self.march(attempt, state, h, start, self.sign, saved, keep)
        message = EXHAUSTED.format(max_steps=plan.max_steps, end=plan.end)
        (y,) = _backend.complete(arrived, (state[0],), message)
        state = (y, *state[1:kept])
        return y, self.readings(state, accepted, attempts, weights, fixed), (x, state, saved, h, accepted)

    def backward(self, residuals, weights, fixed, bar):
        x, state, saved, h, accepted = residuals
        total = tuple(keras.ops.zeros_like(weight) for weight in weights)
        if self.plan.gradient == "adjoint":
            return self.integrate(state[0], bar, total, h, weights, fixed)
        times, saved = saved[:2], saved[2:]
        clock = lambda i: tuple(_backend.get(one, i) for one in times)  # noqa: E731
        bar = self.first_bar(bar, state)
        if self.plan.gradient == "reversible":
            bar, total = self.undo_all(accepted, clock, state, bar, total, weights, fixed)
        else:
            read = lambda i: tuple(_backend.get(one, i) for one in saved)  # noqa: E731
            bar, total = self.pull_back(accepted, clock, read, bar, total, weights, fixed)
        return self.finish(x, bar, total, weights, fixed)

    def integrate(self, x, a, total, h, weights, fixed):
        # the adjoint is linear in the cotangent: scaled to 1, the tolerance means the same for every loss
        size = methods.rms(a)
        size = keras.ops.where(size > 0, size, keras.ops.ones_like(size))
        end = _backend.scalar(self.plan.end, x.dtype)
        state = self.adjoint_begin(x, a / size, end, weights, fixed)

        def attempt(carry, t, step):
            return self.adjoint_attempt(*carry, t, step, weights, fixed)

        (state, total), arrived, *_ = self.march(
            attempt, (state, total), h, end, -self.sign, (), lambda saved, *_: saved
        )
        message = EXHAUSTED.format(max_steps=self.plan.max_steps, end=self.plan.start)
        a, *total = _backend.complete(arrived, (state[1], *total), message)
        return a * size, tuple(one * size for one in total)

    def readings(self, state, accepted, attempts, weights, fixed):
        plan, stages = self.plan, self.tableau.evaluations
        opening = 2 if plan.first_step is None else 1
        accepted, attempts = (_backend.scalar(one, "float32") for one in (accepted, attempts))
        values = {"accepted": accepted, "rejected": attempts - accepted}
        if plan.gradient == "reversible":
            values["nfe"] = opening + attempts * (2 * stages + 1)
            values["nfe_backward"] = accepted * (2 * stages)
        else:
            values["nfe"] = opening + attempts * stages
            if plan.gradient == "checkpoint":
                values["nfe_backward"] = accepted * stages
        return {**values, **self.gap_of(state, weights, fixed)}
