"""What a recipe's network costs: parameters, multiply-adds of one forward pass, bytes of weights and activations."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from zoo.weights import variables

Shapes: TypeAlias = Sequence[int] | Mapping[str, Sequence[int]] | None
"""The shape of an example, or {name of an input: its shape}; None where the network's inputs have fixed shapes."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a network costs.

    Attributes:
        parameters, trainable: how many, of all and of those that train.
        multiply_adds: of one example in inference; None where the backend's graph is not one that we can read.
        loops: whether the network has loops, whose multiply-adds and activations are not counted.
        bytes: of the weights.
        activation_bytes: kept for the backward pass of a training step; None as before.
    """

    parameters: int
    trainable: int
    multiply_adds: int | None
    loops: bool
    bytes: int
    activation_bytes: int | None


def summarize(model: keras.Model, input_shape: Shapes = None, batch_size: int = 1) -> Summary:
    """The `Summary` of a `keras.Model`.

    Args:
        input_shape: of an example, where the model takes several; or {name of an input: shape}.
        batch_size: of the step whose activations are counted.
    """
    readable = keras.backend.backend() == "tensorflow"
    operations = _inference(model, input_shape) if readable else []
    return Summary(
        parameters=model.count_params(),
        trainable=sum(math.prod(variable.shape) for variable in model.trainable_variables),
        multiply_adds=sum(map(_count, operations)) if readable else None,
        loops=any(operation.type in ("While", "StatelessWhile") for operation in operations),
        bytes=sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables(model)),
        activation_bytes=activation_bytes(model, input_shape, batch_size) if readable else None,
    )


def multiply_adds(model: keras.Model, input_shape: Shapes = None) -> int:
    """Multiply-adds of one example, counted in the traced inference graph: convolutions and matrix products.

    What is inside a loop is not counted.
    """
    return sum(map(_count, _inference(model, input_shape)))


def _inference(model: keras.Model, input_shape: Shapes) -> list[Any]:
    """Returns the operations of the traced inference graph for one example."""
    import tensorflow as tf

    forward = tf.function(lambda *inputs: _call(model, inputs, training=False))
    return forward.get_concrete_function(*_specs(model, input_shape, 1)).graph.get_operations()


def activation_bytes(model: keras.Model, input_shape: Shapes = None, batch_size: int = 1) -> int:
    """Bytes that the backward pass of a training step reads of the forward pass, counted in the traced graph.

    Weights are not among them, nor what loops of unknown length keep.
    """
    import tensorflow as tf

    kept = {}

    @tf.function
    def step(*inputs):
        with tf.GradientTape() as tape:
            outputs = _call(model, inputs, training=True)
        graph = tf.compat.v1.get_default_graph()
        forward = {operation.name for operation in graph.get_operations()}
        tape.gradient(outputs, model.trainable_variables)
        for operation in graph.get_operations():
            if operation.name not in forward:
                kept.update({one.name: one for one in operation.inputs if one.op.name in forward})

    step.get_concrete_function(*_specs(model, input_shape, batch_size))
    counted = (one for one in kept.values() if one.op.type not in ("ReadVariableOp", "Const"))
    return sum(one.shape.num_elements() * one.dtype.size for one in counted if one.shape.is_fully_defined())


def _specs(model: keras.Model, input_shape: Shapes, batch_size: int) -> list[Any]:
    import tensorflow as tf

    free = input_shape if isinstance(input_shape, Mapping) else {tensor.name: input_shape for tensor in model.inputs}
    shapes = [free[tensor.name] if None in tensor.shape[1:] else tensor.shape[1:] for tensor in model.inputs]
    return [
        tf.TensorSpec((batch_size, *shape), tensor.dtype) for shape, tensor in zip(shapes, model.inputs, strict=True)
    ]


def _call(model: keras.Model, inputs: Sequence[Any], training: bool) -> Any:
    return model(inputs[0] if len(inputs) == 1 else list(inputs), training=training)


def _count(operation: Any) -> int:
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


def _einsum(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """The product of the sizes of all indices; an ellipsis stands for the leading axes."""
    sizes = {}
    for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        head, dots, tail = term.partition("...")
        axes = (
            list(head) + [f".{index}" for index in range(len(shape) - len(head) - len(tail))] * bool(dots) + list(tail)
        )
        sizes.update(zip(axes, shape, strict=True))
    return math.prod(sizes.values())
