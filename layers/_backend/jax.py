import jax
import jax.numpy as jnp


def traced(tensor):
    """Whether a function is being traced: values are not at hand."""
    return isinstance(tensor, jax.core.Tracer)


def custom_gradient(forward, backward):
    """`forward`'s first result, differentiated by `backward`; every tensor it depends on must be an argument.

    Args:
        forward: tensors -> (result, tuple of tensors that `backward` needs).
        backward: (that tuple, gradient of the result) -> tuple of gradients, one an argument.
    """
    function = jax.custom_vjp(lambda *tensors: forward(*tensors)[0])
    function.defvjp(forward, backward)
    return lambda *tensors: function(*(jax.numpy.asarray(tensor) for tensor in tensors))


def static_shapes():
    return True


# ODE solvers: see tensorflow.py for what each name does -------------------------------------------------------------


def read(variable):
    return variable.value


def random_state(tensor):
    pass  # every generator's state is a variable


def scalar(value, dtype):
    return jnp.asarray(value, dtype)


def count(value):
    return jnp.asarray(value, "int32")


def number(tensor):
    return tensor


def pick(condition, first, second):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


highest, lowest = jnp.maximum, jnp.minimum


def weighted_sum(weights, tensors):
    terms = [weight * tensor for weight, tensor in zip(weights, tensors, strict=False) if weight != 0]
    return sum(terms[1:], start=terms[0])


def repeat(count, body, carry, unroll=False):
    if unroll:
        for i in range(count):
            carry = body(i, carry)
        return carry
    if isinstance(count, int):
        return jax.lax.scan(lambda carry, i: (body(i, carry), None), carry, jnp.arange(count))[0]
    return jax.lax.fori_loop(0, count, body, carry)


def scan(step, carry, xs, like):
    return jax.lax.scan(step, carry, xs)


def until(more, body, carry, limit):
    carry, _ = jax.lax.while_loop(
        lambda carry: more(carry[0]) & (carry[1] < limit), lambda carry: (body(carry[0]), carry[1] + 1), (carry, 0)
    )
    return carry


def buffer(size, like):
    return jnp.zeros((size, *like.shape), like.dtype)


def scalar_buffer(size, dtype):
    return jnp.zeros((size,), dtype)


def put(buffer, index, value):
    return jax.lax.dynamic_update_index_in_dim(buffer, value, index, 0)


def get(buffer, index):
    return jax.lax.dynamic_index_in_dim(buffer, index, 0, keepdims=False)


def complete(arrived, tensors, message):
    return tuple(jnp.where(arrived, tensor, jnp.nan) for tensor in tensors)


def vjp(function, primals, cotangent):
    value, pull = jax.vjp(function, *primals)
    return value, pull(cotangent)


def compiled(function, mode, differentiable=False):
    return function


def solver(forward, backward, training):
    def run(x, weights, fixed):
        return forward(x, weights, fixed, False)[:2]

    if backward is not None:

        def remember(x, weights, fixed):
            *results, residuals = forward(x, weights, fixed, True)
            return tuple(results), (residuals, weights, fixed)

        def pull(kept, bars):
            return *backward(*kept, bars[0]), None

        run = jax.custom_vjp(run)
        run.defvjp(remember, pull)
    return jax.jit(run)  # else each eager call would trace and compile anew


def has_fused_attention():
    """Whether Keras's `dot_product_attention` runs a kernel of its own; JAX's is for accelerators."""
    return jax.default_backend() != "cpu"


def has_slow_small_products():
    """Whether sums are faster than small products of matrices; XLA knows their sizes."""
    return False
