"""Rates by depth, layers that train later, adapters; and what fine-tuning says of the weights it starts from."""

import pathlib

import keras
import numpy as np
import pytest

import zoo
from zoo import weights
from zoo.base import finetuning
from zoo.objective import layerwise
from zoo.registry import configured

SMALL = str(pathlib.Path(__file__).with_name("small.py"))
TINY = {"depth": 2, "width": 16, "heads": 2, "hidden": 16, "length": 8, "vocabulary": 20}
BERT = {**TINY, "tokens": "characters", "classes": 3, "init_from": "elsewhere"}
VIT = {"input_shape": (16, 16, 1), "patch": 4, "depth": 2, "width": 16, "heads": 2, "hidden": 16, "dropout": 0.0}
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adadelta")


def small(**given):
    """A compiled model; `init_from` is followed by `zoo.build` and `zoo.train` alone, so it may name nothing."""
    steps = given.pop("steps", None)
    return configured(SMALL, {"init_from": "elsewhere", "seed": 1, **given}).build(steps)


def updated(model, updates=1, start=0.0):
    """{path: array} of trained variables that start at one value, after so many updates by gradients of our choice."""
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.full(variable.shape, start, "float32"))
    for update in range(updates):
        drawn = [
            np.random.default_rng([update, *variable.path.encode()]).normal(size=variable.shape).astype("float32")
            for variable in variables
        ]
        model.optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in drawn], variables)
    return {variable.path: weights.array(variable) for variable in variables}


def answers(model, inputs):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(inputs), training=False))


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (8, 32, 32, 1)).astype("float32"), rng.integers(0, 10, 8)


# Depth ----------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
def test_depth_is_that_of_beit_and_counts_along_the_longest_way():
    """Bao et al. 2021: embeddings 0, block n has n, the head and the norm before it one more than the blocks."""
    found, head = finetuning.depths(zoo.recipe("vit", **VIT).network())
    assert found == {"patches": 0, "class_token": 0, "positions": 0, "encoder1": 1, "encoder2": 2, "norm": 3, "head": 3}
    assert head == 3
    sizes = {**TINY, "tokens": "characters"}
    found, head = finetuning.depths(zoo.recipe("transformer", **{**sizes, "target_vocabulary": 20}).network())
    assert [found[name] for name in ("source_embedding", "target_embedding")] == [0, 0]
    assert [found[name] for name in ("encoder1", "encoder2", "decoder1", "decoder2")] == [1, 2, 3, 4]
    found, head = finetuning.depths(
        zoo.recipe("gpt", **sizes, answer_length=4).network()
    )  # its embedding is its head too
    assert (found["embedding"], found["features"], head) == (0, 3, 3)


@pytest.mark.backend
def test_without_blocks_kernels_count_and_norms_go_with_them():
    found, head = finetuning.depths(zoo.recipe("lenet").network())
    assert found == {"c1": 1, "s2": 1, "c3": 2, "s4": 2, "c5": 3, "features": 4, "head": 5}
    assert head == 5
    found, _ = finetuning.depths(zoo.recipe("unet", depth=1).network())
    assert found["down1_conv1"] == found["down1_norm1"] == 1
    assert found["up1_conv2"] + 1 == found["head"]


# Rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("updates", [1, 3])
def test_updates_fall_by_the_decay_to_the_power_of_the_depth(optimizer, updates):
    """With a decay of 1/2 and variables that start at 0, bit for bit: all the factors are powers of 2.

    But on torch, where Keras's own optimizers add up in another order.
    """
    tolerance = 2e-5 if keras.backend.backend() == "torch" else 0
    fields = {"optimizer": optimizer, "learning_rate": 0.125}
    plain, slower = (updated(small(layer_decay=decay, **fields), updates) for decay in (1.0, 0.5))
    depth = {"c1": 1, "features": 2, "head": 3}
    for path, moved in plain.items():
        assert np.abs(moved).min() > 0
        expected = moved * 0.5 ** (3 - depth[path.partition("/")[0]])
        bound = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(slower[path], expected, rtol=0, atol=bound, err_msg=path)


@pytest.mark.backend
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_falls_with_the_rate(optimizer):
    """What decay adds to an update is multiplied too, and norms and biases stay out of it."""
    fields = {"optimizer": optimizer, "learning_rate": 0.125, "weight_decay": 0.25}
    plain, slower = (updated(small(layer_decay=decay, **fields), start=1.0) for decay in (1.0, 0.5))
    without = updated(small(**{**fields, "weight_decay": 0.0}), start=1.0)
    for path, factor in (("c1/kernel", 0.25), ("features/kernel", 0.5), ("head/kernel", 1.0), ("c1/bias", 0.25)):
        np.testing.assert_allclose(slower[path] - 1, (plain[path] - 1) * factor, rtol=1e-4, atol=1e-7)
        assert (np.abs(plain[path] - without[path]).max() > 1e-3) == path.endswith("kernel")


@pytest.mark.backend
def test_a_decay_of_zero_trains_the_head_alone():
    start = weights.of(small())
    model = small(layer_decay=0.0, optimizer="adamw", weight_decay=0.1)
    model.train_on_batch(*next(batches(1)))
    moved = {path for path, array in weights.of(model).items() if (array != start[path]).any()}
    assert moved == {"head/kernel", "head/bias"}


@pytest.mark.backend
def test_rates_hold_under_accumulation_and_averages():
    """Two accumulated halves are one update of the whole, at each layer's rate; averages are of what was trained."""
    fields = {"layer_decay": 0.5, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    whole, halves = small(ema=0.5, **fields), small(ema=0.5, accumulate=2, **fields)
    images, labels = next(batches(1))
    whole.train_on_batch(images, labels)
    halves.train_on_batch(images[:4], labels[:4])
    halves.train_on_batch(images[4:], labels[4:])
    for path, array in weights.of(whole).items():
        np.testing.assert_allclose(array, weights.of(halves)[path], rtol=1e-4, atol=1e-5)
    for path, array in weights.averages(whole).items():
        np.testing.assert_array_equal(array, weights.of(whole)[path])  # the first average is the first value


@pytest.mark.backend
def test_the_optimizer_of_a_saved_model_keeps_its_rates(tmp_path):
    model = small(layer_decay=0.5, freeze="c1", unfreeze_epochs=(1,), steps=3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, layerwise.LayerwiseAdamW)
    assert again.optimizer.rates == model.optimizer.rates == {
        "c1/kernel": 0.25, "c1/bias": 0.25, "features/kernel": 0.5, "features/bias": 0.5,
    }  # fmt: skip
    assert again.optimizer.starts == model.optimizer.starts == {"c1/kernel": 3, "c1/bias": 3}
    assert type(small().optimizer) is type(keras.optimizers.AdamW())  # Keras's own, where nothing asks for another


def test_an_optimizer_of_ones_own_has_no_rates(tmp_path):
    source = pathlib.Path(SMALL).read_text() + (
        "\n    def make_optimizer(self, steps_per_epoch=None):\n        return keras.optimizers.Lion(0.1)\n"
    )
    (tmp_path / "own.py").write_text(source)
    assert zoo.recipe(str(tmp_path / "own.py")).build()
    with pytest.raises(zoo.InputError, match="layer_decay and unfreeze_epochs need an optimizer"):
        zoo.recipe(str(tmp_path / "own.py"), init_from="elsewhere", layer_decay=0.5).build()


# Unfreezing -----------------------------------------------------------------------------------------------------------


@pytest.mark.backend
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_until_they_are_unfrozen_training_is_that_of_freeze(optimizer):
    """Weight decay and clipped gradients included; then what was frozen moves, by no more than other layers do."""
    decay = {"weight_decay": 0.1} if optimizer in ("sgd", "adamw") else {}
    fields = {"optimizer": optimizer, "learning_rate": 1e-2, "clip_norm": 0.5, "freeze": "c1", **decay}
    waits, held = (small(unfreeze_epochs=epochs, steps=3, **fields) for epochs in ((1,), None))
    ours, theirs = updated(waits, 3, start=1.0), updated(held, 3, start=1.0)
    assert {"c1/kernel", "c1/bias"} == set(ours) - set(theirs)
    for path, array in theirs.items():
        np.testing.assert_allclose(ours[path], array, rtol=1e-5, atol=1e-6)
    assert (ours["c1/kernel"] == 1).all()
    after = updated(waits, 1, start=1.0)  # the fourth
    steps = {path: np.abs(array - 1).max() for path, array in after.items()}
    assert steps["c1/kernel"] > 0
    if optimizer in ("adam", "adamw"):  # its moments were filled, so the first step is no larger than the rate allows
        assert steps["c1/kernel"] < 2 * fields["learning_rate"]


@pytest.mark.backend
def test_from_the_top_each_depth_begins_after_the_one_above():
    recipe = zoo.recipe("vit", **VIT, freeze="*[!d]", unfreeze_epochs=(1, 2, 5), epochs=10)
    model = recipe.network()

    def begins(*epochs):
        found = finetuning.starts(recipe.replace(unfreeze_epochs=epochs), model)
        return {path.partition("/")[0]: after for path, after in found.items()}

    embeddings = ("patches", "class_token", "positions")
    assert begins(1, 2, 5) == {"norm": 1, "encoder2": 2, "encoder1": 5, **dict.fromkeys(embeddings, 5)}
    assert begins(1, 2, 5, 7, 8) == {"norm": 1, "encoder2": 2, "encoder1": 5, **dict.fromkeys(embeddings, 7)}
    assert set(begins(2).values()) == {2}


@pytest.mark.backend
def test_unfreezing_counts_updates_not_batches():
    model = small(freeze="c1", unfreeze_epochs=(2,), steps=4, accumulate=3, epochs=5)
    assert set(model.optimizer.starts.values()) == {2}  # batches 6 to 8 make the third update, and 8 is the first
    assert set(small(freeze="c1", unfreeze_epochs=(2,)).optimizer.starts.values()) == {finetuning.NEVER}


@pytest.mark.backend
def test_one_traced_step_serves_frozen_and_unfrozen(traces):
    model = small(freeze="c1", unfreeze_epochs=(2,), steps=1)
    images, labels = next(batches(1))
    seen = []
    for _ in range(3):
        model.fit(images, labels, verbose=0)
        seen.append(weights.of(model)["c1/kernel"])
    assert (seen[1] == seen[0]).all()
    assert (seen[2] != seen[1]).any()
    assert traces[0] == 1


@pytest.mark.backend
def test_batch_norms_stay_frozen():
    """Their statistics would move while the layers around them wait."""
    recipe = zoo.recipe("resnet", depth=8, freeze="st*", unfreeze_epochs=(1,), input_shape=(16, 16, 1))
    model = recipe.build(1)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)).astype("float32")
    start = weights.of(model)
    for _ in range(2):
        model.train_on_batch(images, np.arange(4))
    moved = {path for path, array in weights.of(model).items() if (array != start[path]).any()}
    assert {"stem/kernel", "stage2_block1/conv1/kernel", "head/kernel"} <= moved
    assert not [path for path in moved if "norm" in path]


def test_unfreezing_after_the_last_epoch_is_refused():
    for late in ((3,), (2, 1), (1, 1)):
        with pytest.raises(zoo.InputError, match="unfreeze_epochs must rise, and stay below epochs=3"):
            zoo.recipe("lenet", freeze="c1", unfreeze_epochs=late, epochs=3)
    with pytest.raises(zoo.InputError, match="counts only with freeze given"):
        zoo.recipe("lenet", unfreeze_epochs=(1,))
    with pytest.raises(zoo.InputError, match="counts only with init_from given"):
        zoo.recipe("lenet", layer_decay=0.5)


# Adapters -------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
def test_adapters_start_as_nothing_and_train_alone_with_the_head():
    """What stands behind the last block trains in full; kernels, biases, norms and embeddings before it do not move."""
    recipe = zoo.recipe("bert_classifier", **BERT, lora=2, lora_alpha=8.0, dropout=0.0, learning_rate=0.1)
    model, plain = recipe.build(), recipe.build(adapters=False)
    texts, labels = np.array([[1, 5, 6, 2], [1, 7, 2, 0]]), np.array([0, 2])
    start = weights.of(model)
    assert {path: a.tolist() for path, a in weights.of(plain).items()} == {
        path: a.tolist() for path, a in start.items() if not weights.is_adapter(path)
    }
    np.testing.assert_allclose(answers(model, texts), answers(plain, texts), rtol=1e-5, atol=1e-6)
    for _ in range(3):
        model.train_on_batch(texts, labels)
    after = weights.of(model)
    moved = {path for path, array in after.items() if (array != start[path]).any()}
    assert {path for path in moved if not weights.is_adapter(path)} == {
        "features/kernel", "features/bias", "head/kernel", "head/bias",
    }  # fmt: skip
    adapted = ("self_attention/query_key_value", "self_attention/output", "feed_forward_hidden", "feed_forward_output")
    assert {path for path in moved if weights.is_adapter(path)} == {
        f"encoder{n}/{layer}/lora_kernel_{which}" for n in (1, 2) for layer in adapted for which in "ab"
    }
    # merged, it is one network: the recipe's own
    assert np.abs(answers(model, texts) - answers(plain, texts)).max() > 1e-3
    weights.put(plain, recipe.merged(after))
    np.testing.assert_allclose(answers(plain, texts), answers(model, texts), rtol=1e-4, atol=1e-5)


@pytest.mark.backend
def test_a_saved_file_has_the_adapters_in_its_kernels(tmp_path):
    model = small(lora=2, lora_alpha=4.0)
    for batch in batches(2):
        model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras", include_optimizer=False)
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    images = next(batches(1))[0]
    np.testing.assert_allclose(answers(again, images), answers(model, images), rtol=1e-4, atol=1e-5)


@pytest.mark.backend
def test_convolutions_are_adapted_and_frozen_layers_are_not():
    model = small(lora=3, freeze="features")
    assert [variable.path for variable in model.trainable_variables] == [
        "c1/lora_kernel_a", "c1/lora_kernel_b", "head/kernel", "head/bias",
    ]  # fmt: skip
    assert model.get_layer("c1").lora_kernel_a.shape == (5, 5, 1, 3)
    waits = small(lora=3, freeze="features", unfreeze_epochs=(1,), steps=2)
    assert waits.optimizer.starts == {"features/lora_kernel_a": 2, "features/lora_kernel_b": 2}


def test_where_nothing_can_be_adapted_lora_is_refused():
    with pytest.raises(zoo.InputError, match="lora=2 finds nothing to adapt"):
        small(lora=2, freeze="[cf]*")


# Runs -----------------------------------------------------------------------------------------------------------------

FINE = {
    "lora": 2,
    "layer_decay": 0.5,
    "freeze": "c1",
    "unfreeze_epochs": (1,),
    "ema": 0.9,
    "accumulate": 2,
    "clip_norm": 1.0,
    "dropout": 0.3,
    "epochs": 3,
    "quiet": True,
}
"""All of it at once."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return zoo.train(SMALL, epochs=1, directory=tmp_path_factory.mktemp("base") / "run", quiet=True)


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    return zoo.train(SMALL, init_from=str(base.path), directory=folder, **FINE)


@pytest.mark.rest
@pytest.mark.backend
def test_a_resumed_fine_tuning_is_the_one_it_would_have_been(base, tuned, tmp_path):
    """Resumed where its layers are unfrozen."""
    fields = {"init_from": str(base.path), "directory": tmp_path / "run", **FINE}
    for until in (1, None):
        run = zoo.train(SMALL, until=until, **fields)
    assert (run.path / "history.csv").read_text() == (tuned.path / "history.csv").read_text()
    for stem in ("weights", "optimizer", "averages", "answers"):
        ours, theirs = (weights.read(one.checkpoint() / f"{stem}.npz") for one in (run, tuned))
        assert list(ours) == list(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], f"{stem} {key}")


@pytest.mark.backend
def test_a_run_with_adapters_gives_the_recipes_own_network(base, tuned):
    """`zoo.load`, `init_from` and the answers of the checkpoint are of the merged weights."""
    kept = weights.read(tuned.checkpoint("best") / "averages.npz")
    assert any(map(weights.is_adapter, kept))
    model = zoo.load(tuned)
    found = weights.of(model)
    assert set(found) == set(weights.of(zoo.load(base)))
    product = kept["c1/lora_kernel_a"] @ kept["c1/lora_kernel_b"]
    np.testing.assert_allclose(found["c1/kernel"], kept["c1/kernel"] + product, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kept["c1/kernel"], base.weights()["c1/kernel"])
    stored = weights.read(tuned.checkpoint("best") / "answers.npz")["logits"]
    np.testing.assert_allclose(answers(model, tuned.probe()["serve_tensors/images"]), stored, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_an_export_of_adapters_answers_as_the_run_did(tuned, tmp_path):
    """`zoo.export` compares with the answers of the checkpoint, and refuses where they differ."""
    assert zoo.export(tuned, tmp_path / "run").is_dir()
    model = small(lora=2)
    model.train_on_batch(*next(batches(1)))
    assert zoo.export(model, tmp_path / "model").is_dir()
