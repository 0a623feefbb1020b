import jax


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
