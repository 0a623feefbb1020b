"""Laws of dtype policies, and of training under them."""

import keras
import numpy as np

from zoo.base.randomness import dtype_policy
from zoo.testing.layers._attributes import all_sublayers
from zoo.testing.layers._case import KERAS_OPS, flat, functional_model, model_answers, number, one_or_list

HALVES = ("mixed_float16", "mixed_bfloat16")
STEPS = 50


def check_dtypes(case):
    """The layer's dtype is its own, not the global one, and its sublayers'; and what it returns has it."""
    name, policy = case.name, "mixed_bfloat16"
    with case.doing(f"to be made with dtype={policy!r}"):
        layer = case.layer(dtype=policy)
    assert layer.dtype_policy.name == policy, (
        f"{name}(dtype={policy!r}) has the dtype policy {layer.dtype_policy.name}: pass **kwargs to super().__init__"
    )
    with dtype_policy(policy), case.doing(f"to be made with dtype='float32' under {policy}"):
        other = case.cls(**case.fresh_arguments() | {"dtype": "float32"})
        case.call(other)
    containers = (keras.Model, keras.layers.InputLayer)  # which compute nothing, and keep no dtype in their config
    sublayers = [one for one in all_sublayers(other, set()) if not isinstance(one, containers)]
    astray = [one.name for one in sublayers if one.dtype_policy.name == policy]
    assert not astray, (
        f"{name} makes its sublayers {', '.join(astray)} with the global dtype policy: "
        "make them with dtype=self.dtype_policy"
    )
    with case.doing(f"under {policy}"):
        outputs = flat(case.call(layer, training=False))
        specs = flat(case.call(layer, [keras.Input(a.shape[1:], dtype=a.dtype) for a in case.arrays]))
    free = case.cls.compute_output_spec is not keras.layers.Layer.compute_output_spec
    for output, spec in zip(outputs, specs, strict=True):
        found, said = keras.backend.standardize_dtype(output.dtype), keras.backend.standardize_dtype(spec.dtype)
        if not keras.backend.is_float_dtype(found):
            continue
        allowed = said if free else layer.compute_dtype
        assert found == allowed, (
            f"{name} returns {found} under {policy}, not {allowed}: is there a cast in call, or a sublayer that was "
            "not made with dtype=self.dtype_policy?"
        )
        finite = np.isfinite(number(keras.ops.cast(output, "float32"))).all()
        assert finite, f"{name} answers NaN or infinity under {policy}"


def check_steps(case, policy, steps):
    """Compiled training, as `fit` does it, stays finite."""
    rng = np.random.default_rng(3)
    with dtype_policy(policy), case.doing(f"in training under {policy}", KERAS_OPS):
        model = functional_model(case, case.layer(dtype=policy), [array.shape[1:] for array in case.arrays])
        trained = [output for output in model.outputs if keras.backend.is_float_dtype(output.dtype)]
        if not model.trainable_weights or not trained:
            return
        model = keras.Model(one_or_list(model.inputs), trained)
        inputs = one_or_list(case.arrays)
        targets = [rng.normal(size=one.shape).astype("float32") for one in model_answers(model, case.arrays)]
        model.compile("adam", loss=["mse"] * len(targets))
        model.optimizer.build(model.trainable_variables)  # a step that made variables would be traced twice
        for step in range(steps):
            loss = model.train_on_batch(inputs, targets)
            assert np.isfinite(loss).all(), f"{case.name} under {policy}: the loss is not finite at step {step + 1}"
        for weight in model.weights:
            finite = np.isfinite(number(weight).astype("float64")).all()
            assert finite, f"{case.name} under {policy}: {weight.path} is not finite after {steps} steps"
