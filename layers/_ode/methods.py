"""One step of a solver. Written over `f(x, t)`, or over `f(x, t, weights)` where a gradient is pulled through it.

A state is a tuple of tensors that begins with x. Each method has

    evaluations             of f in a step, and `extra` ones of a whole solve with equal steps
    start(f, x, t)          the state at t
    step(f, state, t, h)    the state at t + h
    gap(f, state, t)        how far the state's halves are apart, relatively; None where it has none

and a reversible one

    undo(f, state, bar, total, t, h, weights)
                            the state at t, given that at t + h; cotangents of it, given those of the state at t + h;
                            and `total`, the gradient of the weights, with the step's added
"""

import keras

from zoo.layers import _backend


def rms(tensor, norm="rms"):
    """Root mean square; with norm "worst_sample" the largest of each sample's own."""
    square = keras.ops.square(tensor)
    if norm == "worst_sample":
        mean = keras.ops.max(keras.ops.mean(square, axis=tuple(range(1, len(tensor.shape)))))
    else:
        mean = keras.ops.mean(square)
    return keras.ops.cast(keras.ops.sqrt(mean), tensor.dtype)  # keras.ops makes float32 of float64


def apart(first, second):
    """Size of the difference of two tensors, relative to the first's; 0 where both are 0."""
    size = rms(first)
    return rms(first - second) / keras.ops.where(size > 0, size, keras.ops.ones_like(size))


def added(totals, parts, factor=None):
    """totals + factor * parts, one by one."""
    if factor is not None:
        parts = [factor * part for part in parts]
    return tuple(total + part for total, part in zip(totals, parts, strict=True))


class RungeKutta:
    """x(t + h) = x + h sum_i b_i k_i, by a tableau."""

    extra = 0

    def __init__(self, tableau):
        self.tableau = tableau
        self.evaluations = tableau.evaluations

    def start(self, f, x, t):
        return (x,)

    def step(self, f, state, t, h):
        (x,) = state
        return (x + self.change(f, x, t, h),)

    def gap(self, f, state, t):
        return None

    def change(self, f, x, t, h):
        """h sum_i b_i k_i. A last stage that only the error needs is not evaluated."""
        slopes = self._slopes(f, x, t, h, self.evaluations)
        return h * _backend.weighted_sum(self.tableau.weights, slopes)

    def begin(self, f, x, t):
        """The state of adaptive steps: x, and its slope."""
        return x, f(x, t)

    def attempt(self, f, state, t, h, ratio):
        """(the state at t + h, error / tolerance); `ratio(error, x before, x after)`."""
        x, slope = state
        change, error, slope = self.trial(f, x, t, h, slope)
        return (x + change, slope), ratio(error, x, x + change)

    def trial(self, f, x, t, h, first):
        """(h sum_i b_i k_i, its error, the slope at its end), from the slope at its start."""
        slopes = self._slopes(f, x, t, h, len(self.tableau.nodes), first)
        change, error = (h * _backend.weighted_sum(row, slopes) for row in (self.tableau.weights, self.tableau.error))
        return change, error, slopes[-1]

    def _slopes(self, f, x, t, h, count, first=None):
        slopes = [f(x, t) if first is None else first]
        for node, row in zip(self.tableau.nodes[1:count], self.tableau.stages[1:count], strict=True):
            slopes.append(f(x + h * _backend.weighted_sum(row, slopes), t + node * h))
        return slopes


class Reversible:
    """Any Runge-Kutta method made algebraically reversible, with a coupling l and its step Psi.

    y(t + h) = l y + (1 - l) z + Psi_h(z, t),  z(t + h) = z - Psi_-h(y(t + h), t + h)

    Reference: McCallum & Foster 2024, "Efficient, Accurate and Stable Gradients for Neural ODEs", definition 3.1.
    """

    extra = 0

    def __init__(self, tableau, coupling):
        self.base = RungeKutta(tableau)
        self.coupling = coupling
        self.evaluations = 2 * tableau.evaluations

    def start(self, f, x, t):
        return x, x

    def step(self, f, state, t, h):
        y, z = state
        return self._advance(f, y, z, self.base.change(f, z, t, h), t, h)

    def _advance(self, f, y, z, change, t, h):
        y = self.coupling * y + (1 - self.coupling) * z + change
        return y, z - self.base.change(f, y, t + h, -h)

    def gap(self, f, state, t):
        y, z = state
        return apart(y, z)

    def begin(self, f, x, t):
        return x, x

    def attempt(self, f, state, t, h, ratio):
        y, z = state
        change, error, _ = self.base.trial(f, z, t, h, f(z, t))
        return self._advance(f, y, z, change, t, h), ratio(error, z, z + change)

    def undo(self, f, state, bar, total, t, h, weights):
        y, z = state
        bar_y, bar_z = bar

        def backward(y, weights):
            return self.base.change(lambda x, t: f(x, t, weights), y, t + h, -h)

        def forward(z, weights):
            return self.base.change(lambda x, t: f(x, t, weights), z, t, h)

        change, (pulled, grads) = _backend.vjp(backward, (y, weights), bar_z)
        z = z + change
        bar_y = bar_y - pulled
        total = added(total, grads, -1.0)
        change, (pulled, grads) = _backend.vjp(forward, (z, weights), bar_y)
        y = (y - (1 - self.coupling) * z - change) / self.coupling
        bar_z = bar_z + (1 - self.coupling) * bar_y + pulled
        return (y, z), (self.coupling * bar_y, bar_z), added(total, grads)


class Leapfrog:
    """Asynchronous leapfrog: x and its velocity v, one evaluation a step, reversible by itself.

    m = x + h/2 v,  v(t + h) = 2 f(m, t + h/2) - v,  x(t + h) = m + h/2 v(t + h)

    Reference: Zhuang, Dvornek, Tatikonda & Duncan 2021, "MALI: A Memory Efficient and Reverse Accurate Integrator for
    Neural ODEs", algorithm 2.
    """

    evaluations = 1
    extra = 2  # the first velocity, and the gap

    def start(self, f, x, t):
        return x, f(x, t)

    def step(self, f, state, t, h):
        x, v = state
        middle = x + 0.5 * h * v
        v = 2.0 * f(middle, t + 0.5 * h) - v
        return middle + 0.5 * h * v, v

    def gap(self, f, state, t):
        x, v = state
        return apart(v, f(x, t))

    def undo(self, f, state, bar, total, t, h, weights):
        x, v = state
        bar_x, bar_v = bar
        middle = x - 0.5 * h * v
        bar_v = bar_v + 0.5 * h * bar_x
        slope, (pulled, grads) = _backend.vjp(
            lambda x, weights: f(x, t + 0.5 * h, weights), (middle, weights), 2.0 * bar_v
        )
        v = 2.0 * slope - v
        bar_x = bar_x + pulled
        return (middle - 0.5 * h * v, v), (bar_x, 0.5 * h * bar_x - bar_v), added(total, grads)


class Adjoint:
    """Runge-Kutta on the state backward in time with its adjoint a, da/dt = -(df/dx)^T a; weights by quadrature.

    dL/dweights = integral of (df/dweights)^T a dt takes the method's own weights b_i and stays outside of the error.
    """

    def __init__(self, tableau):
        self.tableau = tableau
        self.evaluations = tableau.evaluations

    def begin(self, f, x, a, t, weights):
        """The state of adaptive steps: x, a, and the slopes of x, a and the weights' gradient."""
        return x, a, *self._slope(f, x, a, t, weights)

    def step(self, f, state, total, t, h, weights):
        x, a = state
        x, a, total, _ = self._take(f, x, a, total, t, h, weights, self.evaluations, None)
        return (x, a), total

    def attempt(self, f, state, total, t, h, weights, ratio):
        """(the state at t + h, total, error / tolerance)"""
        x, a, *first = state
        after, a_after, total, slopes = self._take(f, x, a, total, t, h, weights, len(self.tableau.nodes), first)
        of_x, of_a, last = slopes
        of_x, of_a = (h * _backend.weighted_sum(self.tableau.error, one) for one in (of_x, of_a))
        error = keras.ops.maximum(ratio(of_x, x, after), ratio(of_a, a, a_after))
        return (after, a_after, slopes[0][-1], slopes[1][-1], last), total, error

    def _take(self, f, x, a, total, t, h, weights, count, first):
        first = self._slope(f, x, a, t, weights) if first is None else first
        of_x, of_a, grads = [first[0]], [first[1]], first[2]
        total = added(total, grads, -h * self.tableau.weights[0])
        for index in range(1, count):
            row, node, weight = self.tableau.stages[index], self.tableau.nodes[index], self.tableau.weights[index]
            at_x, at_a = (y + h * _backend.weighted_sum(row, slopes) for y, slopes in ((x, of_x), (a, of_a)))
            slope, adjoint, grads = self._slope(f, at_x, at_a, t + node * h, weights)
            of_x.append(slope)
            of_a.append(adjoint)
            if weight != 0:
                total = added(total, grads, -h * weight)
        x, a = (y + h * _backend.weighted_sum(self.tableau.weights, slopes) for y, slopes in ((x, of_x), (a, of_a)))
        return x, a, total, (of_x, of_a, grads)

    def _slope(self, f, x, a, t, weights):
        slope, (pulled, grads) = _backend.vjp(lambda x, weights: f(x, t, weights), (x, weights), a)
        return slope, -pulled, grads
