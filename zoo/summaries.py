"""What a recipe's network costs: parameters, multiply-adds of one forward pass, bytes."""

import dataclasses
import math

import keras
import numpy as np

from zoo.weights import variables


@dataclasses.dataclass(frozen=True)
class Summary:
    """`multiply_adds` of one example in inference; None where the backend's graph is not one that we can read."""

    parameters: int
    trainable: int
    multiply_adds: int | None
    bytes: int


def summarize(model):
    """The `Summary` of a `keras.Model`."""
    return Summary(
        parameters=model.count_params(),
        trainable=sum(math.prod(variable.shape) for variable in model.trainable_variables),
        multiply_adds=multiply_adds(model) if keras.backend.backend() == "tensorflow" else None,
        bytes=sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables(model)),
    )


def multiply_adds(model):
    """Multiply-adds of one example, counted in the traced inference graph: convolutions and matrix products."""
    import tensorflow as tf

    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    forward = tf.function(lambda *inputs: model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
    traced = forward.get_concrete_function(*specs)
    return sum(_count(operation) for operation in traced.graph.get_operations())


def _count(operation):
    shapes = [tensor.shape for tensor in operation.inputs]
    match operation.type:
        case "Conv2D" | "Conv3D":
            return math.prod(operation.outputs[0].shape) * math.prod(shapes[1][:-1])
        case "DepthwiseConv2dNative":
            return math.prod(operation.outputs[0].shape) * math.prod(shapes[1][:2])
        case "Conv2DBackpropInput" | "Conv3DBackpropInputV2":  # transposed: every input meets the whole kernel
            return math.prod(shapes[2]) * math.prod(shapes[1][:-1])
        case "MatMul":
            return math.prod(operation.outputs[0].shape) * shapes[0][0 if operation.get_attr("transpose_a") else 1]
        case "BatchMatMulV2":
            return math.prod(operation.outputs[0].shape) * shapes[0][-2 if operation.get_attr("adj_x") else -1]
        case "Einsum":
            return _einsum(operation.get_attr("equation").decode(), shapes)
    return 0


def _einsum(equation, shapes):
    """The product of the sizes of all indices; an ellipsis stands for the leading axes."""
    sizes = {}
    for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        head, dots, tail = term.partition("...")
        axes = (
            list(head) + [f".{index}" for index in range(len(shape) - len(head) - len(tail))] * bool(dots) + list(tail)
        )
        sizes.update(zip(axes, shape, strict=True))
    return math.prod(sizes.values())
