"""What is particular to each recipe on text: published sizes, what starts a run, and what fields do."""

import keras
import numpy as np
import pytest

import zoo
from tests.recipes.sequences import BLOCKS, GPT, LLAMA, MODEL, SEQ2SEQ, TRANSLATOR, make, numbers, says, texts
from zoo import registry
from zoo.base.models import cut
from zoo.objective.optimizers import WarmupSchedule
from zoo.testing import check_recipe


@pytest.fixture
def shapes():
    """Weights have shapes and no values, now and later: a thousand million numbers would not fit."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.backend.clear_session()  # else the next scope that ends makes the values


def size(*layers):
    return sum(layer.count_params() for layer in layers)


@pytest.mark.parametrize(("name", "parameters"), [
    ("seq2seq/rnnsearch", 80_442_000),
    ("transformer/base", 63_082_496),
    ("transformer/big", 214_245_376),
    ("gpt/124m", 124_439_808),
    ("llama/smollm2-135m", 134_515_008),
    ("llama/qwen2-0.5b", 494_032_768),
    ("llama/tinyllama-1.1b", 1_100_048_384),
])  # fmt: skip
def test_has_the_published_parameters(name, parameters, shapes):
    assert zoo.recipe(name).network().count_params() == parameters


def test_rnnsearch_has_the_published_parameters_part_by_part(shapes):
    network = zoo.recipe("seq2seq/rnnsearch").network()
    layer = network.get_layer
    assert size(layer("encoder")) == 9_726_000
    assert size(layer("source_embedding")) == size(layer("target_embedding")) == 18_600_000
    assert size(layer("decoder").attention) == 3_001_000
    assert size(layer("decoder")) == 10_863_000 + 3_001_000
    assert size(layer("initial")) == 1_001_000
    assert size(layer("features"), layer("head")) == 18_651_000


def test_a_base_transformer_has_the_published_blocks(shapes):
    network = zoo.recipe("transformer/base", norm="pre").network()
    assert size(network.get_layer("encoder1")) == 3_152_384
    assert size(network.get_layer("decoder6")) == 4_204_032
    assert network.count_params() == 63_082_496 + 2048


def test_bert_has_the_published_parameters_and_hands_them_on(shapes):
    classifier = zoo.recipe("bert_classifier/base").network()
    assert cut(classifier).count_params() == 109_482_240
    assert cut(zoo.recipe("bert/base").network()).count_params() == 108_891_648


def test_minilm_has_the_published_parameters_but_its_pooler(shapes):
    """Of 22,713,216 in the file, the pooler has 384 x 384 + 384, and no answer depends on it."""
    assert zoo.recipe("sentence_encoder/minilm-l6").network().count_params() == 22_713_216 - 147_840


def test_attention_starts_exactly_uniform():
    recipe = zoo.recipe("seq2seq", initialization="bahdanau", **SEQ2SEQ)
    network = recipe.network()
    source = texts(9, [7, 4, 1], 7)
    weights = numbers(recipe.make_attention(network)([source, texts(9, [5, 5, 5], 5)]))
    expected = (source != 0) / (source != 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights, np.repeat(expected[:, None], 5, axis=1), rtol=1e-6)
    biases = [weight for weight in network.weights if weight.path.endswith("bias")]
    assert all((numbers(bias) == 0).all() for bias in biases)
    assert np.std(numbers(network.get_layer("decoder").kernel)) == pytest.approx(0.01, rel=0.2)
    gate = numbers(network.get_layer("decoder").candidate_kernel)
    np.testing.assert_allclose(gate.T @ gate, np.eye(6), atol=1e-5)


@pytest.mark.parametrize(("name", "fields"), [
    ("seq2seq", {}),
    ("seq2seq", {"initialization": "bahdanau"}),
    ("transformer", {"ffn": "gated"}),
    ("gpt", {"ffn": "quadratic"}),
    ("llama", {}),
    ("bert", {}),
    ("bert_classifier", {"ffn": "gated"}),
    ("sentence_encoder", {}),
])  # fmt: skip
def test_no_two_weights_are_drawn_alike(name, fields):
    seen = {}
    for weight in zoo.recipe(name, **fields).network().weights:
        values = numbers(weight)
        if values.ndim > 1 and np.std(values) > 0:
            numbers_in_order = tuple(np.sort(values.ravel() / values.std())[:5])
            assert numbers_in_order not in seen, (weight.path, seen[numbers_in_order])
            seen[numbers_in_order] = weight.path


@pytest.mark.parametrize(("dim", "warmup", "rates"), [
    (512, 4000, {1: 1.746928e-7, 100: 1.746928e-5, 1000: 1.746928e-4, 2000: 3.493856e-4, 4000: 6.987712e-4,
                 8000: 4.941059e-4, 16_000: 3.493856e-4, 100_000: 1.397542e-4}),
    (1024, 4000, {4000: 4.941059e-4, 300_000: 5.705443e-5}),
])  # fmt: skip
def test_noam_has_the_published_values(dim, warmup, rates):
    schedule = WarmupSchedule((dim * warmup) ** -0.5, kind="noam", total_steps=300_000, warmup_steps=warmup)
    for step, rate in rates.items():
        assert float(schedule(step - 1)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(("variant", "steps", "peak"), [("base", 100_000, 6.987712e-4), ("big", 300_000, 4.941059e-4)])
def test_a_variant_trains_on_the_published_schedule(variant, steps, peak):
    recipe = zoo.recipe(f"transformer/{variant}")
    schedule = recipe.make_schedule(steps // recipe.epochs)
    assert schedule.warmup_steps == pytest.approx(4000, rel=1e-3)
    assert float(schedule(schedule.warmup_steps - 1)) == pytest.approx(peak, rel=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize(("name", "fields", "classes"), [
    ("seq2seq", {**SEQ2SEQ, "dropout": 0.1, "scheduled_sampling": 0.5}, None),
    ("transformer", {**TRANSLATOR, **BLOCKS, "depth": 1, "dropout": 0.1, "label_smoothing": 0.1, "ffn": "moe"}, None),
    ("gpt", {**GPT, "attention_dropout": 0.1}, None),
    ("llama", {**LLAMA, "qkv_bias": True, "head_bias": True}, None),
    ("bert", MODEL, None),
    ("bert_classifier", MODEL, 2),
    ("sentence_encoder", MODEL, 2),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_every_weight_learns(name, fields, classes):
    model = zoo.build(name, **fields)
    source, target = texts(9, [7, 4, 5, 6], 7), texts(9, [6, 3, 4, 5], 6, seed=1)
    shifted = np.concatenate([np.ones((4, 1), "int32"), target[:, :-1]], axis=1)
    if len(model.inputs) == 2:
        inputs, target = {"source": source, "target": shifted}, target
    else:
        inputs, target = shifted, np.array([0, 1, 1, 0]) if classes else target
    before = {weight.path: numbers(weight).copy() for weight in model.trainable_weights}
    history = model.fit(inputs, target, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight in model.trainable_weights:
        if "attention/query_key_value/bias" not in weight.path:  # a key's bias changes no softmax
            assert np.abs(before[weight.path] - numbers(weight)).max() > 0, weight.path


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles always, torch never")
@pytest.mark.parametrize(("name", "fields"), [
    ("seq2seq", SEQ2SEQ),
    ("seq2seq", {**SEQ2SEQ, "cell": "lstm", "scheduled_sampling": 1.0}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "depth": 1}),
    ("gpt", {**GPT, "depth": 1, "dropout": 0.0}),
    ("bert", {**MODEL, "depth": 1, "dropout": 0.0}),
])  # fmt: skip
def test_trains_compiled_by_xla_on_batches_of_any_length(name, fields):
    import tensorflow as tf

    def batches():
        for time in (5, 7, 7):
            source, target = texts(9, [time, 4, 3], time), texts(9, [4, 3, time - 1], time - 1, seed=1)
            shifted = np.concatenate([np.ones((3, 1), "int32"), target[:, :-1]], axis=1)
            yield ({"source": source, "target": shifted} if name in ("seq2seq", "transformer") else shifted), target

    def losses(jit_compile):
        keras.utils.set_random_seed(0)
        model = zoo.build(name, **fields, jit_compile=jit_compile, clip_norm=None)
        spec = tf.nest.map_structure(lambda one: tf.TensorSpec((None, None), one.dtype), next(batches()))
        data = tf.data.Dataset.from_generator(batches, output_signature=spec).repeat()
        return model.fit(data, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0).history["loss"]

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-4)


@pytest.mark.backend
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_scheduled_sampling_feeds_a_network_its_own_answers(rate):
    _, network = make("seq2seq", **SEQ2SEQ, scheduled_sampling=1.0)
    network.rate = rate
    plain = keras.Model(network.inputs, network.outputs[0])
    source, target = texts(9, [7, 4], 7), np.array([[1, 5, 6, 4], [1, 7, 0, 0]])
    whole = says(plain, [source, target])
    said = np.concatenate([target[:, :1], whole.argmax(-1)[:, :-1]], axis=1)
    expected = says(plain, [source, np.where(target == 0, 0, said)]) if rate else whole
    np.testing.assert_allclose(numbers(network([source, target], training=True)), expected, atol=1e-5)
    np.testing.assert_allclose(says(network, [source, target]), whole, atol=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize(
    "name", ["seq2seq", "transformer", "gpt", "llama", "bert", "bert_classifier", "sentence_encoder"]
)
def test_comes_back_from_a_file(name, tmp_path):
    special = {
        "seq2seq": {**SEQ2SEQ, "scheduled_sampling": 0.5},
        "transformer": {**TRANSLATOR, **BLOCKS, "ffn": "gated"},
        "gpt": GPT,
        "llama": {**LLAMA, "head_bias": True},
    }
    _, network = make(name, **special.get(name, MODEL))
    inputs = [texts(9, [7, 4], 7), texts(9, [5, 3], 5)] if len(network.inputs) == 2 else texts(9, [7, 4], 7)
    network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(says(again, inputs), says(network, inputs), atol=1e-6)
    assert getattr(again, "rate", None) == getattr(network, "rate", None)


NEW = {"kv_heads", "norm_kind", "epsilon", "bias", "qkv_bias", "rotary_base", "rotary_scaling", "head_bias"}
"""Fields that runs of before do not have."""


@pytest.mark.parametrize(("name", "fields", "epsilon"), [
    ("transformer", {}, 1e-6), ("transformer", {"tied": True}, 1e-6), ("gpt", {}, 1e-5), ("gpt", {"tied": False}, 1e-5),
    ("bert", {}, 1e-12), ("bert_classifier", {}, 1e-12),
])  # fmt: skip
def test_a_recipe_that_was_saved_before_a_field_was_there_is_what_it_was(name, fields, epsilon):
    recipe = zoo.recipe(name, **fields)
    saved = registry.saved(recipe)
    assert {**saved["values"]}.keys() >= NEW - {"head_bias"}
    saved["values"] = {field: value for field, value in saved["values"].items() if field not in NEW}
    again = registry.restored(saved)
    assert again == recipe
    assert again.epsilon == epsilon
    assert (again.bias, again.qkv_bias, again.norm_kind, again.kv_heads) == (True, False, "layer", None)


@pytest.mark.parametrize(("name", "fields"), [("transformer", TRANSLATOR), ("gpt", GPT), ("bert", MODEL)])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_have_a_bias_where_it_is_asked_for(name, fields, tied):
    def names(**given):
        if name == "transformer":
            given["vocabulary"] = fields["target_vocabulary"]
        return {weight.path for weight in zoo.recipe(name, **{**fields, **given, "tied": tied}).network().weights}

    assert names(head_bias=True) - names(head_bias=False) == {"head/bias"}
    assert names() == names(head_bias=not tied)


def test_segments_end_with_the_end_of_a_part():
    """The same token behind one END, and behind two, is in another segment each, up to the last."""
    _, network = make("bert", **MODEL, segments=3)
    text = np.array([[1, 5, 2, 6, 2, 7, 2, 8, 2]])
    parts = keras.Model(network.inputs, network.get_layer("segments").output)([text])
    table = numbers(network.get_layer("segments").embeddings)
    np.testing.assert_allclose(numbers(parts)[0], table[[0, 0, 0, 1, 1, 2, 2, 2, 2]])


@pytest.mark.parametrize(("name", "fields", "message"), [
    ("transformer", {"width": 128, "heads": 3}, "heads must divide width=128. Received: heads=3"),
    ("transformer", {"tied": True, "vocabulary": 20}, "one vocabulary.*vocabulary=20, target_vocabulary=128"),
    ("transformer", {"width": 5, "heads": 1}, "width must be even"),
    ("transformer", {"ffn": "moe", "experts": 1}, "top_k_experts must be at most experts=1"),
    ("transformer", {"experts": 8}, "ffn=moe"),
    ("transformer", {"length_penalty": 1.0}, "beam_width above 1"),
    ("gpt", {"vocabulary": 4}, "vocabulary must be above 4"),
    ("llama", {"kv_heads": 3}, "kv_heads must divide heads=4. Received: kv_heads=3"),
    ("llama", {"width": 12, "heads": 4}, "width over heads must be even"),
    ("gpt", {"rotary_base": 5.0}, "positions=rotary"),
    ("gpt", {"qkv_bias": True}, "bias=false"),
    ("seq2seq", {"target_vocabulary": 3}, "target_vocabulary must be above 4"),
    ("seq2seq", {"cell": "gry"}, "gru, lstm, rnn"),
])  # fmt: skip
def test_bad_fields_are_named(name, fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe(name, **fields)


DATES = "dates:train=200,validation=50,test=50"
LEAST = {"width": 64, "heads": 2, "hidden": 128, "depth": 1}
SMALL = {  # as small as the search ranges go
    "seq2seq": (
        "Seq2Seq",
        {"dataset": DATES, "units": 64, "embedding": 32, "attention": 64, "readout": 64},
        {"freeze": "encoder*"},
    ),
    "transformer": (
        "Transformer",
        {"dataset": DATES, **LEAST},
        {"freeze": "encoder*"},
    ),
    "gpt": ("GPT", {**LEAST, "length": 32, "answer_length": 8}, {"freeze": "decoder1"}),
    "llama": (
        "Llama",
        {**LEAST, "kv_heads": 1, "length": 32, "answer_length": 8},
        {"freeze": "decoder1"},
    ),
    "bert": ("BERT", {**LEAST, "length": 32}, {"freeze": "encoder1"}),
    "bert_classifier": ("BERTClassifier", {**LEAST, "length": 32}, {"freeze": "encoder1"}),
    "sentence_encoder": ("SentenceEncoder", {"dataset": DATES, **LEAST}, {"freeze": "encoder1"}),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*what is beyond is cut")
@pytest.mark.parametrize("name", SMALL)
def test_every_recipe_law_holds(name, tmp_path):
    cls, fields, samples = SMALL[name]
    given = ", ".join(f"{field}={value!r}" for field, value in {**fields, "batch_size": 16}.items())
    path = tmp_path / f"small_{name}.py"
    path.write_text(f"from zoo.recipes.{name} import {cls}\n\n\nclass Small({cls}, {given}):\n    pass\n")
    run = zoo.train(str(path), epochs=1, directory=tmp_path / "run", quiet=True)
    monitor = "val_accuracy" if name in ("bert_classifier", "sentence_encoder") else "val_perplexity"
    check_recipe(str(path), samples={**samples, "init_from": str(run.path), "monitor": monitor})
