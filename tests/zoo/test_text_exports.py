"""What writes and reads text leaves as files that take strings and need TensorFlow alone."""

import json
import sys

import keras
import numpy as np
import pytest

import zoo
from tests import warm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*what is beyond is cut"),
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough: TensorFlow exports"),
]

ALONE = """
import json, sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
assert not any(name == "zoo" or name.startswith(("zoo.", "sentencepiece", "sacrebleu")) for name in sys.modules)
saved = saved_model_pb2.SavedModel()
saved.ParseFromString(open(sys.argv[1] + "/saved_model.pb", "rb").read())
(graph,) = [meta.graph_def for meta in saved.meta_graphs]
nodes = [node for function in graph.library.function for node in function.node_def] + list(graph.node)
functions = {function.signature.name for function in graph.library.function}
stock = {name for name in dir(tf.raw_ops) if "PyFunc" not in name}
def readable(value):
    return value.decode() if isinstance(value, bytes) else [*map(readable, value)] if isinstance(value, list) else value
model = tf.saved_model.load(sys.argv[1])
asked = json.loads(sys.argv[2])
found = {}
for number, (signature, inputs) in enumerate(asked):
    specs = model.signatures[signature].structured_input_signature[1]
    tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
    answers = model.signatures[signature](**tensors)
    found[number] = {name: readable(value.numpy().tolist()) for name, value in answers.items()}
print(json.dumps({
    "strange": sorted({node.op for node in nodes} - stock - functions),
    "signatures": sorted(model.signatures),
    "answers": found,
}))
"""

TEXTS = ["3 March 2011", "", "le 3 mars 2011 à Nancy", "31.12."]
TRANSLATOR = {"dataset": "dates:train=300,validation=40,test=40", "beam_width": 2}
BLOCKS = {"width": 16, "heads": 2, "hidden": 16, "depth": 1}
READER = {**BLOCKS, "length": 24}
CASES = {
    "seq2seq": {**TRANSLATOR, "embedding": 8, "units": 8, "attention": 8, "readout": 8},
    "transformer": {**TRANSLATOR, **BLOCKS, "tokens": "subwords", "vocabulary": 150, "target_vocabulary": 60},
    "gpt": {**READER, "answer_length": 6},
    "llama": {**READER, "answer_length": 6, "kv_heads": 1, "head_bias": True},
    "bert": READER,
    "bert_classifier": READER,
    "sentence_encoder": {**READER, "dataset": TRANSLATOR["dataset"]},
}


@pytest.fixture(scope="module", params=CASES)
def served(request, tmp_path_factory):
    """(run, {signature asked: its answers}, what is told of the graph) of a recipe."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    run = zoo.train(name, epochs=1, batch_size=64, quiet=True, directory=folder / "run", **CASES[name])
    exported = zoo.export(run, folder / "export")
    asked = [("serving_default", {"text": TEXTS}), ("serving_default", {"text": TEXTS[:1]})]
    if name in ("seq2seq", "transformer"):
        asked += [("serve_beam", {"text": TEXTS, "beam_width": width, "max_length": 16}) for width in (1, 3)]
    if name in ("gpt", "llama"):
        asked += [("serve_sample", {"text": TEXTS, "seed": seed}) for seed in (5, 5, 6)]
    command = [sys.executable, "-I", "-c", ALONE, str(exported), json.dumps(asked)]
    done = warm.run(command, cwd=folder, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return run, [found["answers"][str(number)] for number in range(len(asked))], found


@pytest.mark.filterwarnings("ignore:.*out of the vocabulary")
def test_strings_go_in_and_answers_come_out_of_stock_operations(served):
    run, answers, found = served
    assert found["strange"] == []
    assert {"serving_default", "serve_tensors"} <= set(found["signatures"])
    expected = zoo.predict(run, TEXTS)
    whole, alone = answers[:2]
    if run.recipe.name == "sentence_encoder":
        assert whole.keys() == {"embedding"}
        np.testing.assert_allclose(whole["embedding"], [one.vector for one in expected], rtol=0, atol=1e-5)
        np.testing.assert_allclose(alone["embedding"], whole["embedding"][:1], rtol=0, atol=1e-5)
        return
    if run.recipe.name == "bert_classifier":
        assert whole["label"] == [one.label for one in expected]
        np.testing.assert_allclose(whole["probability"], [one.probability for one in expected], rtol=0, atol=1e-5)
        np.testing.assert_allclose(alone["probabilities"][0], whole["probabilities"][0], rtol=0, atol=1e-5)
        return
    assert whole["text"] == [one.text for one in expected]
    np.testing.assert_allclose(whole["score"], [one.score for one in expected], rtol=0, atol=1e-4)
    assert alone["text"] == whole["text"][:1]
    np.testing.assert_allclose(alone["score"], whole["score"][:1], rtol=0, atol=1e-5)
    assert ("attention" in whole) == (run.recipe.name == "seq2seq")
    if "attention" in whole:
        attention = np.array(whole["attention"])  # (texts, target_length, positions)
        assert attention.shape[:2] == (len(TEXTS), run.recipe.target_length)
        looks = attention.sum(axis=-1)
        np.testing.assert_allclose(looks[:, 0], 1.0, rtol=0, atol=1e-5)
        if run.recipe.tokens == "characters":  # a row of weights for each, and for the end
            written = [min(len(text) + 1, run.recipe.target_length) for text in whole["text"]]
            np.testing.assert_allclose(looks.sum(axis=1), written, rtol=0, atol=1e-4)


def test_callers_choose_beam_and_seed(served):
    run, answers, _ = served
    if run.recipe.name in ("seq2seq", "transformer"):
        narrow, wide = answers[2:]
        assert np.shape(narrow["texts"]) == (len(TEXTS), 1)
        assert np.shape(wide["texts"]) == np.shape(wide["scores"]) == (len(TEXTS), 3)
        assert (np.diff(wide["scores"], axis=1) <= 0).all()
    if run.recipe.name in ("gpt", "llama"):
        first, again, other = answers[2:]
        assert first == again
        assert first != other


def test_formats_without_strings_are_refused(served, tmp_path):
    run, *_ = served
    for format in ("onnx", "litert"):
        with pytest.raises(zoo.InputError, match="text"):
            zoo.export(run, tmp_path / "there", format=format)
    assert list(tmp_path.iterdir()) == []
