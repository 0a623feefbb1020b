import tensorflow as tf


def traced(tensor):
    """Whether a graph is being traced: values are not at hand."""
    return not tf.executing_eagerly()


def custom_gradient(forward, backward):
    """`forward`'s first result, differentiated by `backward`; every tensor it depends on must be an argument.

    Args:
        forward: tensors -> (result, tuple of tensors that `backward` needs).
        backward: (that tuple, gradient of the result) -> tuple of gradients, one an argument.
    """

    @tf.custom_gradient
    def function(*tensors):
        result, kept = forward(*tensors)
        return result, lambda upstream: backward(kept, upstream)

    return lambda *tensors: function(*(tf.convert_to_tensor(tensor) for tensor in tensors))


def fused_batch_norm(inputs, gamma, beta, epsilon):
    """(normalised images, mean, biased variance) by the batch's own statistics; of TensorFlow alone."""
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(inputs) / tf.size(mean), "float32")
    return outputs, mean, variance * (tf.maximum(count - 1, 1) / count)  # the kernel's variance is the unbiased one


# mixtures of experts -------------------------------------------------------------------------------------------------


def static_shapes():
    """Whether shapes must be known without values: by XLA, and on JAX."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def split(tensor, sizes, count):
    """The first rows of `tensor` in `count` parts of `sizes`, a tensor; not where shapes are static."""
    rest = tf.shape(tensor)[:1] - tf.reduce_sum(sizes, keepdims=True)
    return tf.split(tensor, tf.concat([sizes, rest], axis=0), num=count + 1)[:-1]


# ODE solvers ----------------------------------------------------------------------------------------------------------


def read(variable):
    """A variable's value, a tensor."""
    return tf.convert_to_tensor(variable.value)


def random_state(tensor):
    """State, to compare, of the generator that layers without seed draw from, where there is one."""


def scalar(value, dtype):
    """`value` as a scalar of loops: a tensor, on torch a Python number."""
    return tf.cast(value, dtype)


def count(value):
    """`value` as a counter of loops."""
    return tf.constant(value, "int32")


def number(tensor):
    """A tensor of no axis as a scalar of loops."""
    return tensor


def pick(condition, first, second):
    """`first` where `condition`, a scalar, else `second`, structure by structure."""
    return tf.nest.map_structure(lambda a, b: tf.where(condition, a, b), first, second)


highest, lowest = tf.maximum, tf.minimum


def weighted_sum(weights, tensors):
    """Sum of weight * tensor, without those of weight 0; `weights` are Python numbers."""
    terms = [weight * tensor for weight, tensor in zip(weights, tensors, strict=False) if weight != 0]
    return sum(terms[1:], start=terms[0])


def repeat(count, body, carry, unroll=False):
    """carry = body(i, carry) for i = 0, ..., count - 1; differentiable where `count` is a Python number."""
    if unroll:
        for i in range(count):
            carry = body(i, carry)
        return carry
    limit = count if isinstance(count, int) else None
    return tf.while_loop(
        lambda i, carry: i < count,
        lambda i, carry: (i + 1, body(i, carry)),
        (tf.constant(0), carry),
        parallel_iterations=1,
        maximum_iterations=limit,
    )[1]


def scan(step, carry, xs, like):
    """(the last carry, what `step(carry, x)` gave beside it for each x, stacked), where `xs` is (time, ...).

    `like` is a nest of tensors as a step gives them. Keras's own sets its loop no limit, and XLA needs one for the
    gradient.
    """
    count = tf.shape(xs)[0]
    read = tf.TensorArray(xs.dtype, count, element_shape=xs.shape[1:]).unstack(xs)
    made = [tf.TensorArray(one.dtype, count, element_shape=one.shape) for one in tf.nest.flatten(like)]

    def body(i, before, made):
        carry, given = step(before, read.read(i))
        for new, old in zip(tf.nest.flatten(carry), tf.nest.flatten(before), strict=True):
            new.set_shape(old.shape)
        return i + 1, carry, [room.write(i, one) for room, one in zip(made, tf.nest.flatten(given), strict=True)]

    _, carry, made = tf.while_loop(
        lambda i, *_: i < count, body, (tf.constant(0), carry, made), parallel_iterations=1, maximum_iterations=count
    )
    stacked = [room.stack() for room in made]
    for one in stacked:
        one.set_shape([xs.shape[0], *one.shape[1:]])
    return carry, tf.nest.pack_sequence_as(like, stacked)


def until(more, body, carry, limit):
    """carry = body(carry) while more(carry), at most `limit` times."""
    return tf.while_loop(
        lambda *carry: more(carry),
        lambda *carry: body(carry),
        carry,
        parallel_iterations=1,
        maximum_iterations=limit,
    )


def buffer(size, like):
    """Room for `size` tensors like one."""
    return tf.TensorArray(like.dtype, size, element_shape=like.shape, clear_after_read=False)


def scalar_buffer(size, dtype):
    """Room for `size` scalars."""
    return tf.TensorArray(dtype, size, element_shape=(), clear_after_read=False)


def put(buffer, index, value):
    """`buffer` with `value` at `index`, in place of what was there."""
    return buffer.write(index, value)


def get(buffer, index):
    return buffer.read(index)


def complete(arrived, tensors, message):
    """`tensors`, not a number where the solver did not arrive; on torch an error."""
    return tuple(tf.where(arrived, tensor, float("nan")) for tensor in tensors)


def vjp(function, primals, cotangent):
    """(function(*primals), the cotangents of `primals`, zero where it does not depend on them)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        value = function(*primals)
    found = tape.gradient(value, primals, output_gradients=cotangent, unconnected_gradients="zero")
    return value, tf.nest.map_structure(tf.convert_to_tensor, found)


def compiled(function, mode, differentiable=False):
    """`function` of tensors as it is; on torch traced, by `mode` None, "trace" or "inductor"."""
    return function


def solver(forward, backward, training):
    """(x, weights, fixed) -> (result, readings), differentiated by `backward`, or natively where that is None.

    In inference the loop is TensorFlow's own, gradient and all, so that an export holds stock operations only: a
    SavedModel cannot hold the gradient of a function that has recorded into an array.

    Args:
        forward: (x, weights, fixed, record) -> (result, readings, residuals).
        backward: (residuals, weights, fixed, gradient of result) -> (that of x, those of weights).
        training: whether it trains.
    """

    def plain(x, weights, fixed):
        return forward(x, weights, fixed, False)[:2]

    def run(x, weights, fixed):
        names = []

        @tf.custom_gradient
        def solve(x, *weights):
            result, readings, residuals = forward(x, weights, fixed, True)
            names[:] = readings

            def pull(bar, *_):
                bar, bars = backward(residuals, weights, fixed, bar)
                return bar, *bars

            return (result, *map(tf.convert_to_tensor, readings.values())), pull

        result, *values = solve(x, *weights)
        return result, dict(zip(names, values, strict=True))

    return plain if backward is None or not training else run


def has_fused_attention():
    """Whether Keras's `dot_product_attention` runs a kernel of its own. TensorFlow has none."""
    return False


def has_slow_small_products():
    """Whether sums are faster than small products of matrices: oneDNN's calls cost more than what they do."""
    return True
