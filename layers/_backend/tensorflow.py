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
