import keras
import numpy as np
import pytest

from tests.layers.arrays import RNG, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import Router, Routing
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def number(tensor):
    return numbers(tensor).item()


def routing(logits, top_k, **arguments):
    """What a router makes of these logits."""
    router = Router(logits.shape[-1], top_k, kernel_initializer="identity", **arguments)
    return router(np.asarray(logits, "float32"))


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("arguments", "shape", "mask", "thorough"),
    [
        ({"num_experts": 4, "top_k": 2, "z_loss": 1e-3}, (3, 5, 6), [[1] * 5, [1, 0, 1, 1, 0], [0] * 5], True),
        ({"num_experts": 3, "jitter": 0.1, "seed": 1}, (8, 6), None, False),
        ({"num_experts": 3, "top_k": 1, "normalize": False, "kernel_initializer": "ones"}, (8, 6), None, False),
    ],
)
def test_conforms(arguments, shape, mask, thorough):
    check_layer(
        Router,
        arguments,
        input_shape=shape,
        mask=None if mask is None else np.array(mask, bool),
        dynamic_axes=(1,) if len(shape) == 3 else (),
        thorough=thorough,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_variables=0 if "seed" not in arguments else 1,
        expected_num_losses=0,
        supports_masking=True,
    )


def test_takes_the_largest_and_the_first_of_equals():
    logits = np.array([[0.0, 3.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 5.0, 9.0]])
    np.testing.assert_array_equal(numbers(routing(logits, 2).experts), [[1, 3], [0, 1], [3, 0]])
    np.testing.assert_array_equal(numbers(routing(logits, 4).experts), [[1, 3, 2, 0], [0, 1, 2, 3], [3, 0, 2, 1]])
    far = numbers(routing(logits * 1e4, 4).experts)  # where the softmax is one-hot
    np.testing.assert_array_equal(far, [[1, 3, 2, 0], [0, 1, 2, 3], [3, 0, 2, 1]])


def test_weights_are_the_softmax_over_the_chosen():
    logits = normal(20, 6)
    found = routing(logits, 3)
    chosen = np.take_along_axis(logits, numbers(found.experts), -1)
    np.testing.assert_allclose(numbers(found.weights), softmax(chosen), atol=1e-6)
    left = numbers(routing(logits, 3, normalize=False).weights)
    np.testing.assert_allclose(left, np.sort(softmax(logits))[:, :-4:-1], atol=1e-6)
    np.testing.assert_allclose(numbers(routing(logits, None).weights), softmax(logits), atol=1e-6)


def test_a_single_choice_keeps_its_probability_and_so_its_gradient():
    logits = normal(5, 4)
    np.testing.assert_allclose(numbers(routing(logits, 1).weights)[:, 0], softmax(logits).max(-1), atol=1e-6)
    assert (np.abs(gradients(lambda x: routing_of(x, 1).weights, logits)[0]).max(-1) > 1e-3).all()


def routing_of(tensor, top_k):
    return Router(tensor.shape[-1], top_k, kernel_initializer="identity")(tensor)


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (8, 2), (64, 4)])
def test_balance_loss_is_1_where_probabilities_are_uniform(experts, top_k):
    assert number(routing(np.zeros((10, experts)), top_k).balance_loss()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("experts", [4, 64])
def test_balance_loss_is_the_number_of_experts_at_collapse(experts):
    logits = np.zeros((10, experts))
    logits[:, 2] = 1e4
    assert number(routing(logits, 1).balance_loss()) == pytest.approx(experts, rel=1e-6)


def test_balance_loss_may_be_below_1():
    probabilities = np.array([[0.51, 0.49]] * 9 + [[1e-30, 1.0]])
    assert number(routing(np.log(probabilities), 1).balance_loss()) == pytest.approx(0.9344, abs=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradient_of_the_balance_loss_is_finite_and_flows_through_probabilities_alone(scale):
    logits = scale * normal(10, 4)
    if scale == 1e4:
        logits[:, 2] = 1e5
    found = gradients(lambda x: routing_of(x, 2).balance_loss(), logits)[0]
    load = numbers(routing(logits, 2).load())
    p = softmax(logits.astype("float64"))
    expected = 4 * p * (load - (p * load).sum(-1, keepdims=True)) / 10  # load held fixed
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("experts", "value"), [(8, 4.3241), (64, 17.2963), (128, 23.5422)])
def test_z_loss_of_zero_logits_is_the_squared_log_of_their_number(experts, value):
    assert number(routing(np.zeros((3, experts)), 1).z_loss()) == pytest.approx(value, abs=1e-4)


def test_load_and_entropy():
    logits = np.array([[9.0, 0, 0, 0], [0, 9, 0, 0], [9, 1, 0, 0], [9, 0, 0, 1]])
    np.testing.assert_allclose(numbers(routing(logits, 1).load()), [0.75, 0.25, 0, 0])
    np.testing.assert_allclose(numbers(routing(logits, 2).load()), [0.5, 0.375, 0, 0.125])
    assert number(routing(np.zeros((3, 8)), 1).entropy()) == pytest.approx(np.log(8), abs=1e-6)
    assert number(routing(1e4 * np.eye(4), 1).entropy()) == 0


def test_masked_positions_are_routed_nowhere_and_count_in_nothing():
    x, mask = normal(3, 5, 8), RNG.random((3, 5)) < 0.6
    router = Router(4, top_k=2)
    whole, alone = router(x, mask=mask), router(x[mask])
    np.testing.assert_array_equal(numbers(whole.experts)[~mask], 4)
    np.testing.assert_array_equal(numbers(whole.weights)[~mask], 0)
    np.testing.assert_array_equal(numbers(whole.experts)[mask], numbers(alone.experts))
    for name in ("load", "entropy", "balance_loss", "z_loss"):
        np.testing.assert_allclose(numbers(getattr(whole, name)()), numbers(getattr(alone, name)()), atol=1e-6)
    nothing = router(x, mask=np.zeros((3, 5), bool))
    for name in ("load", "entropy", "balance_loss", "z_loss"):
        np.testing.assert_array_equal(numbers(getattr(nothing, name)()), 0)


def test_adds_its_losses_in_training_alone():
    x = normal(10, 6)
    router = Router(4, top_k=2, balance_loss=0.5, z_loss=0.25)
    found = router(x)
    assert router.losses == []
    router(x, training=True)
    expected = [0.5 * number(found.balance_loss()), 0.25 * number(found.z_loss())]
    np.testing.assert_allclose([number(one) for one in router.losses], expected, rtol=1e-6)
    everything = Router(4)
    everything(x, training=True)
    assert everything.losses == []  # with every expert for every token the load is always balanced


def test_works_in_float32_whatever_the_policy():
    router = Router(4, top_k=2, dtype="mixed_bfloat16")
    x = normal(10, 6)
    found = router(x)
    assert router.kernel.dtype == "float32"
    assert [keras.backend.standardize_dtype(one.dtype) for one in found] == ["float32", "float32", "int32", "float32"]
    np.testing.assert_allclose(numbers(found.logits), x @ numbers(router.kernel.value), atol=1e-5)


def test_jitter_acts_in_training_alone():
    x = np.ones((1000, 1), "float32")
    router = Router(2, kernel_initializer="ones", jitter=0.1, seed=0)
    np.testing.assert_array_equal(numbers(router(x).logits), 1)
    noisy = numbers(router(x, training=True).logits)
    assert 0.9 <= noisy.min() < 0.91
    assert 1.09 < noisy.max() <= 1.1


def test_routing_is_a_tree():
    found = routing(normal(5, 4), 2)
    again = keras.tree.map_structure(lambda one: one, found)
    assert isinstance(again, Routing)
    assert len(keras.tree.flatten(found)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0}, "num_experts=0"),
        ({"num_experts": 2, "top_k": 3}, "at most the number of experts, 2. Received: top_k=3"),
        ({"num_experts": 2, "top_k": 0}, "top_k=0"),
        ({"num_experts": 2, "jitter": 1.0}, "below 1. Received: jitter=1.0"),
        ({"num_experts": 2, "balance_loss": -1}, "balance_loss=-1"),
        ({"num_experts": 2, "normalize": None}, "normalize=None"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Router(**arguments)


def test_refuses_unknown_features():
    with pytest.raises(ValueError, match="size of axis -1"):
        Router(2).build((None, None))
