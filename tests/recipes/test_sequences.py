"""Laws of all networks on text: decoding says what the network says; padding and the future change nothing."""

import keras
import numpy as np
import pytest

from tests.layers.gradients import gradients
from tests.recipes.sequences import GPT, LLAMA, MODEL, WRITERS, decoded, make, names, numbers, says, texts
from zoo import decoding

pytestmark = pytest.mark.backend

SOURCE = texts(9, [7, 4, 1], 7)
TARGET = np.concatenate([np.ones((3, 1), "int32"), texts(9, [6, 3, 4], 6, seed=1)[:, :-1]], axis=1)

EVERY = [*WRITERS, ("gpt", GPT), ("gpt", {**GPT, "positions": "sinusoidal", "tied": False}),
         ("llama", LLAMA), ("bert", MODEL), ("bert", {**MODEL, "norm": "pre", "positions": "rotary"})]  # fmt: skip


def stepped(recipe, network, source, target):
    """The logits of a decoder that is given `target` token by token."""
    decoder = recipe.make_decoder(network)
    state, memory = decoder.start(source, target.shape[1])
    logits = []
    for index in range(target.shape[1]):
        step, state = decoder.step(keras.ops.convert_to_tensor(target[:, index]), index, state, memory)
        logits.append(numbers(step))
    return np.stack(logits, axis=1)


@pytest.mark.parametrize(("name", "fields"), WRITERS, ids=names(WRITERS))
def test_steps_with_a_cache_are_the_whole_network(name, fields):
    recipe, network = make(name, **fields)
    whole = says(network, [SOURCE, TARGET])
    real = TARGET != 0  # behind the text, the network hides what decoding would not
    np.testing.assert_allclose(stepped(recipe, network, SOURCE, TARGET)[real], whole[real], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "fields"), [
    ("gpt", GPT), ("gpt", {**GPT, "positions": "sinusoidal", "norm": "post", "tied": False}), ("llama", LLAMA)
], ids=str)  # fmt: skip
def test_a_decoder_goes_on_with_prompts_of_any_length(name, fields):
    """Decoding from prompts gives the logits of the whole text, whatever the prompts' lengths."""
    recipe, network = make(name, **fields)
    text = np.concatenate([np.ones((3, 1), "int32"), texts(11, [9, 9, 9], 9)], axis=1)  # START and ids
    whole = says(network, text)  # (3, 10, vocabulary)
    rows, counts = np.arange(3), np.array([6, 1, 3])
    prompts = np.where(np.arange(6) < counts[:, None], text[:, :6], 0)
    decoder = recipe.make_decoder(network)
    state, memory = decoder.start(prompts, 4)
    for index in range(4):
        tokens = text[rows, counts + index - 1]
        tokens = tokens * 0 + 1 if index == 0 else tokens
        logits, state = decoder.step(keras.ops.convert_to_tensor(tokens), index, state, memory)
        np.testing.assert_allclose(numbers(logits), whole[rows, counts + index - 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "fields"), [("gpt", GPT), ("llama", LLAMA)], ids=("gpt", "llama"))
def test_of_a_long_prompt_its_end_counts(name, fields):
    recipe, network = make(name, **fields)  # 16 positions
    prompts = texts(11, [30, 9, 13], 30)
    tokens, scores = decoded(recipe, network, decoding.Search(4), prompts)
    for row, end in enumerate((prompts[:1, 17:], prompts[1:2, :9], prompts[2:, :13])):
        alone, score = decoded(recipe, network, decoding.Search(4), end)
        np.testing.assert_array_equal(alone[0], tokens[row])
        np.testing.assert_allclose(score[0], scores[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "fields"), WRITERS[:1] + WRITERS[4:5], ids=names(WRITERS[:1] + WRITERS[4:5]))
@pytest.mark.parametrize("width", [1, 3])
def test_scores_are_those_that_the_network_gives_the_answer(name, fields, width):
    recipe, network = make(name, **fields)
    search = decoding.Search(5, width, 0.6)
    tokens, scores = decoded(recipe, network, search, SOURCE)
    for best in range(width):
        said = tokens[:, best]
        target = np.concatenate([np.ones((3, 1), "int32"), said[:, :-1]], axis=1)
        odds = numbers(keras.ops.log_softmax(says(network, [SOURCE, target])))
        found = np.take_along_axis(odds, said[..., None], axis=-1)[..., 0]
        count = (said != 0).sum(axis=1)
        expected = np.where(said != 0, found, 0).sum(axis=1) / ((5 + count) / 6) ** 0.6
        np.testing.assert_allclose(scores[:, best], expected, atol=1e-4)


@pytest.mark.parametrize(("name", "fields"), WRITERS[:1] + WRITERS[4:5], ids=names(WRITERS[:1] + WRITERS[4:5]))
@pytest.mark.parametrize("width", [1, 3])
def test_padding_and_other_sentences_change_no_answer(name, fields, width):
    recipe, network = make(name, **fields)
    search = decoding.Search(5, width, 0.6)
    tokens, scores = decoded(recipe, network, search, SOURCE)
    padded = np.pad(SOURCE, [(0, 1), (0, 4)])
    padded[3, :11] = 5
    more, more_scores = decoded(recipe, network, search, padded[:, :11])
    np.testing.assert_array_equal(more[:3], tokens)
    np.testing.assert_allclose(more_scores[:3], scores, rtol=0, atol=1e-5)
    for row, length in enumerate([7, 4, 1]):
        alone, score = decoded(recipe, network, search, SOURCE[row : row + 1, :length])
        np.testing.assert_array_equal(alone[0], tokens[row])
        np.testing.assert_allclose(score[0], scores[row], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are made by TensorFlow")
@pytest.mark.parametrize(("name", "fields"), [pytest.param(*WRITERS[0], id="seq2seq"), pytest.param(*WRITERS[4])])
def test_a_search_exports_for_any_width_and_length(name, fields, tmp_path):
    import tensorflow as tf

    recipe, network = make(name, **fields)
    decoder = recipe.make_decoder(network)
    archive = keras.export.ExportArchive()
    archive.track(network)
    scalar = tf.TensorSpec((), tf.int32)
    archive.add_endpoint(
        "serve_beam",
        lambda source, width, length: decoding.beam(decoder, source, width, length)._asdict(),
        input_signature=[tf.TensorSpec((None, None), tf.int32), scalar, scalar],
    )
    archive.add_endpoint(
        "serve",
        lambda source: decoding.greedy(decoder, source, 5)._asdict(),
        input_signature=[tf.TensorSpec((None, None), tf.int32)],
    )
    archive.write_out(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    for rows, width, length in ((3, 3, 5), (1, 2, 7)):
        found = loaded.serve_beam(tf.constant(SOURCE[:rows]), tf.constant(width), tf.constant(length))
        tokens, scores = decoded(recipe, network, decoding.Search(length, width, 0.6), SOURCE[:rows])
        np.testing.assert_array_equal(found["tokens"], tokens)
        np.testing.assert_allclose(found["scores"], scores, rtol=0, atol=1e-5)
    tokens, scores = decoded(recipe, network, decoding.Search(5), SOURCE)
    found = loaded.serve(tf.constant(SOURCE))
    np.testing.assert_array_equal(found["tokens"], tokens[:, 0])
    np.testing.assert_allclose(found["scores"], scores[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "fields"), EVERY, ids=names(EVERY))
def test_padding_and_other_rows_change_no_logit(name, fields):
    _, network = make(name, **fields)
    pairs = len(network.inputs) == 2
    whole = says(network, [SOURCE, TARGET] if pairs else SOURCE)
    source, target = np.pad(SOURCE, [(0, 0), (0, 3)]), np.pad(TARGET, [(0, 0), (0, 2)])
    wide = says(network, [source, target] if pairs else source)[:, : whole.shape[1]]
    for row in range(3):
        real = np.flatnonzero((TARGET if pairs else SOURCE)[row])
        np.testing.assert_allclose(wide[row, real], whole[row, real], rtol=0, atol=1e-5)
        inputs = [SOURCE[row : row + 1, : [7, 4, 1][row]], TARGET[row : row + 1]]
        alone = says(network, inputs if pairs else inputs[0])
        np.testing.assert_allclose(alone[0, real], whole[row, real], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "fields"), WRITERS, ids=names(WRITERS))
def test_a_source_of_padding_alone_is_attended_to_by_nobody(name, fields):
    recipe, network = make(name, **fields)
    source = np.array([[0, 0, 0], [5, 6, 2]])
    assert np.isfinite(says(network, [source, TARGET[:2]])).all()
    attention = recipe.make_attention(network)
    weights = says(attention, [source, TARGET[:2]])
    np.testing.assert_array_equal(weights[0], 0)
    real = TARGET[1] != 0
    np.testing.assert_allclose(weights[1, real].sum(-1), 1, atol=1e-5)
    padded = says(attention, [np.pad(source, [(0, 0), (0, 2)]), TARGET[:2]])
    np.testing.assert_array_equal(padded[..., 3:], 0)
    np.testing.assert_allclose(padded[..., :3], weights, atol=1e-6)


@pytest.mark.parametrize(("name", "fields"), EVERY[:-2], ids=names(EVERY[:-2]))
def test_no_token_knows_those_behind_it(name, fields):
    """Another token changes nothing before it, bit for bit."""
    _, network = make(name, **fields)
    for place in (2, 5):
        other = TARGET[:1].copy()
        other[0, place] = 7 if other[0, place] != 7 else 6
        inputs = [([SOURCE[:1], one] if len(network.inputs) == 2 else one) for one in (TARGET[:1], other)]
        first, second = (says(network, one) for one in inputs)
        np.testing.assert_allclose(first[:, :place], second[:, :place], rtol=0, atol=1e-6)
        assert np.abs(first[:, place:] - second[:, place:]).max() > 1e-4


@pytest.mark.parametrize(("name", "fields"), [WRITERS[0], WRITERS[3], ("gpt", GPT)], ids=("seq2seq", "blocks", "gpt"))
def test_the_gradient_of_an_answer_by_what_comes_after_is_zero(name, fields):
    _, network = make(name, **fields)
    embedded = {"seq2seq": "target_embedding", "transformer": "target_dropout", "gpt": "dropout"}[name]
    sequence = network.get_layer(embedded).output
    before = network.inputs[:-1]
    from_here = keras.Model([*before, sequence], network.output)
    x = numbers(keras.Model(network.inputs, sequence)([SOURCE, TARGET][-len(network.inputs) :]))

    def third(values):
        source = [keras.ops.convert_to_tensor(SOURCE)] if before else []
        return from_here([*source, values])[:, 2]

    (gradient,) = gradients(third, x)
    assert np.abs(gradient[:, :3]).max() > 1e-3
    np.testing.assert_array_equal(gradient[:, 3:], 0)
