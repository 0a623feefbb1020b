import keras
import numpy as np
import pytest

from tests.layers.gradients import gradients
from zoo.layers import AttentionRNN
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

RNG = np.random.default_rng(0)
MASK = np.arange(5) < np.array([5, 3, 4])[:, None]  # (3, 5)
SHAPES = {"inputs": (3, 4, 6), "annotations": (3, 5, 7), "state": (3, 2)}
CELLS = ("gru", "lstm", "rnn")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def made(cell, **arguments):
    """A layer with random weights, and what it is called with."""
    layer = AttentionRNN(2, 3, cell, **arguments)
    layer.build(*SHAPES.values())
    for weight in layer.weights:
        weight.assign(normal(*weight.shape))
    return layer, [normal(*shape) for shape in SHAPES.values()]


@pytest.mark.parametrize(("arguments", "options"), [
    ({"units": 2}, {"mask": {"annotations": MASK}}),
    ({"units": 2, "attention_units": 3, "cell": "lstm", "recurrent_initializer": "glorot_normal"}, {"thorough": False}),
    ({"units": 2, "cell": "rnn", "kernel_initializer": "he_normal", "score_initializer": "ones"}, {"thorough": False}),
])  # fmt: skip
def test_conforms(arguments, options):
    check_layer(AttentionRNN, arguments, input_shape=SHAPES, **options)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(layer, inputs, annotations, state):
    """What the layer computes, row by row and step by step, as the paper writes it."""
    w = {weight.path.rpartition("/")[2]: numbers(weight).astype("float64") for weight in layer.weights}
    states, contexts, weights = (np.zeros((*inputs.shape[:2], size)) for size in (2, annotations.shape[2], 5))
    for row in range(len(inputs)):
        s, c = state[row].astype("float64"), np.zeros(2)
        for time in range(inputs.shape[1]):
            keys = annotations[row] @ w["value_kernel"]
            scores = np.exp(np.tanh(s @ w["query_kernel"] + keys) @ w["score_kernel"])[:, 0] * MASK[row]
            a = scores / scores.sum()
            context = a @ annotations[row]
            states[row, time], contexts[row, time], weights[row, time] = s, context, a
            x = inputs[row, time] @ w["kernel"] + context @ w["context_kernel"] + w["bias"]
            if layer.cell == "gru":
                z, r = sigmoid(x[:4] + s @ w["recurrent_kernel"]).reshape(2, 2)
                s = z * s + (1 - z) * np.tanh(x[4:] + (r * s) @ w["candidate_kernel"])
            elif layer.cell == "lstm":
                i, f, g, o = (x + s @ w["recurrent_kernel"]).reshape(4, 2)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                s = sigmoid(o) * np.tanh(c)
            else:
                s = np.tanh(x + s @ w["recurrent_kernel"])
    return states, contexts, weights


@pytest.mark.parametrize("cell", CELLS)
def test_equals_loops(cell):
    layer, inputs = made(cell)
    found = layer(*inputs, annotations_mask=MASK)
    for ours, expected in zip(found, by_hand(layer, *inputs), strict=True):
        np.testing.assert_allclose(numbers(ours), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("hypotheses", [1, 3])
def test_steps_are_the_whole_sequence(cell, hypotheses):
    """Also where several rows of the state share a row of the memory."""
    layer, (inputs, annotations, state) = made(cell)
    sentence = np.repeat(np.arange(3), hypotheses)
    inputs, state = normal(3 * hypotheses, 4, 6), normal(3 * hypotheses, 2)
    states, contexts, _ = map(numbers, layer(inputs, annotations[sentence], state, annotations_mask=MASK[sentence]))
    now, memory = layer.begin(keras.ops.convert_to_tensor(state)), layer.project(annotations, MASK)
    for time in range(4):
        np.testing.assert_allclose(numbers(now[0]), states[:, time], rtol=0, atol=1e-5)
        context, now = layer.step(inputs[:, time], now, memory)
        np.testing.assert_allclose(numbers(context), contexts[:, time], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_no_step_knows_those_behind_it(cell):
    layer, (inputs, annotations, state) = made(cell)

    def third(x):
        states, contexts, weights = layer(x, annotations, state)
        return keras.ops.concatenate([states, contexts, weights], axis=-1)[:, 2] ** 2

    (found,) = gradients(third, inputs)
    assert np.abs(found[:, :2]).min() > 0
    np.testing.assert_array_equal(found[:, 2:], 0)


def test_an_lstm_starts_with_its_forget_gate_open():
    layer = AttentionRNN(2, cell="lstm")
    layer.build(*SHAPES.values())
    assert numbers(layer.bias).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(("arguments", "shapes", "message"), [
    ({"units": 0}, {}, "units must be a whole number of at least 1. Received: units=0"),
    ({"units": 2, "cell": "gpu"}, {}, "cell must be one of 'gru', 'lstm', 'rnn'. Received: cell='gpu'"),
    ({"units": 2}, {"state": (3, 4)}, "state must be .batch, units.. Received: state_shape=.3, 4., units=2"),
    ({"units": 2}, {"inputs": (3, 4)}, "inputs_shape=.3, 4."),
])  # fmt: skip
def test_bad_arguments_are_named(arguments, shapes, message):
    with pytest.raises(ValueError, match=message):
        AttentionRNN(**arguments).build(*{**SHAPES, **shapes}.values())
