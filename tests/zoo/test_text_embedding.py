"""Texts as vectors: the loss of pairs, the network, and what a run of it answers."""

import keras
import numpy as np
import pytest

import zoo
from tests.recipes.sequences import MODEL, make, numbers, says, texts
from zoo import cli
from zoo.data import pipeline
from zoo.objective.losses import PairLoss
from zoo.objective.metrics import PairAccuracy
from zoo.registry import open_recipe
from zoo.tasks._embedded import make_embedded, partners

DATES = "dates:train=200,validation=40,test=40"


def units(count, width=6, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


# Loss and metric ------------------------------------------------------------------------------------------------------


@pytest.mark.backend
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_the_mean_surprise_of_both_softmaxes(temperature):
    vectors = units(10)
    scores = vectors[:5].astype("float64") @ vectors[5:].T.astype("float64") / temperature
    surprise = [
        np.log(np.exp(row).sum()) - row[place] for matrix in (scores, scores.T) for place, row in enumerate(matrix)
    ]
    found = numbers(PairLoss(temperature)(np.zeros(10), vectors))
    np.testing.assert_allclose(found, np.mean(surprise), rtol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("pairs", [2, 7])
def test_equal_vectors_cost_the_logarithm_of_the_pairs_and_partners_alone_nothing(pairs):
    same = np.repeat(units(1), 2 * pairs, axis=0)
    np.testing.assert_allclose(numbers(PairLoss()(np.zeros(2 * pairs), same)), np.log(pairs), rtol=1e-5)
    apart = np.tile(np.eye(pairs, dtype="float32"), (2, 1))
    np.testing.assert_allclose(numbers(PairLoss(0.01)(np.zeros(2 * pairs), apart)), 0, atol=1e-6)


@pytest.mark.backend
def test_pairs_in_another_order_cost_the_same_and_other_partners_more():
    vectors, order = units(12), np.random.default_rng(1).permutation(6)
    vectors[6:] = vectors[:6]
    loss, none = PairLoss(), np.zeros(12)
    moved = np.concatenate([vectors[:6][order], vectors[6:][order]])
    np.testing.assert_allclose(numbers(loss(none, moved)), numbers(loss(none, vectors)), rtol=1e-5)
    assert numbers(loss(none, np.concatenate([vectors[:6], np.roll(vectors[6:], 1, axis=0)]))) > 1


@pytest.mark.backend
def test_the_metric_counts_texts_whose_partner_is_nearest_both_ways_round():
    vectors = np.concatenate([np.eye(4), np.eye(4)]).astype("float32")
    metric = PairAccuracy()
    metric.update_state(np.zeros(8), vectors)
    assert float(metric.result()) == 1
    metric.reset_state()
    vectors[4] = vectors[5]  # texts 0 and 1 are both nearest to pair 1: two rows and a column are wrong
    scores = vectors[:4] @ vectors[4:].T
    expected = np.mean([scores.argmax(1) == np.arange(4), scores.argmax(0) == np.arange(4)])
    metric.update_state(np.zeros(8), vectors)
    assert float(metric.result()) == expected < 1


def test_partners_are_found_in_pieces_as_at_once():
    first, second = units(2500, 4), units(2500, 4, seed=1)
    np.testing.assert_array_equal(partners(first, second), (first @ second.T).argmax(axis=1))


# Network --------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
def test_vectors_have_length_1_and_padding_changes_none():
    _, network = make("sentence_encoder", **MODEL)
    ids = texts(11, [9, 4, 2, 7], 9)
    vectors = says(network, ids)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for row, length in enumerate([9, 4, 2, 7]):
        np.testing.assert_allclose(says(network, ids[row : row + 1, :length])[0], vectors[row], atol=1e-5)
    wider = np.concatenate([ids, np.zeros((4, 5), "int32")], axis=1)
    np.testing.assert_allclose(says(network, wider), vectors, atol=1e-5)
    assert np.isfinite(says(network, np.zeros((1, 3), "int32"))).all()


@pytest.mark.backend
def test_the_vector_is_the_scaled_mean_of_berts_answers():
    _, network = make("sentence_encoder", **MODEL)
    ids = texts(11, [9, 4, 6], 9)
    encoded = says(keras.Model(network.input, network.get_layer("encoded").output), ids)
    mean = np.stack([row[:length].mean(axis=0) for row, length in zip(encoded, [9, 4, 6], strict=True)])
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(says(network, ids), expected, atol=1e-5)


# Data and answers -----------------------------------------------------------------------------------------------------


def test_a_batch_is_texts_and_then_their_partners(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"text number {number} is long,no {number}" for number in range(60)]
    path.write_text("\n".join(["source,target", *rows]))
    recipe, source = open_recipe("sentence_encoder", {"dataset": f"csv:{path}", "batch_size": 8})
    reader = recipe.make_reader(source)
    data = pipeline.training(source, recipe.make_preparation(reader, source), batch_size=8, seed=0)
    ids, pairs = map(np.asarray, next(iter(data)))
    said = [text.decode() for text in reader.tokenizer.decode(ids).numpy()]
    assert len(said) == 16
    np.testing.assert_array_equal(pairs, [*range(8), *range(8)])
    for text, partner in zip(said[:8], said[8:], strict=True):
        assert text == f"text number {partner.removeprefix('no ')} is long"


def test_similarities_are_cosines_the_nearest_first():
    vectors = units(4)
    found = make_embedded(["#0", "#1", "#2", "#3"], vectors)
    cosines = vectors @ vectors.T
    for row, one in enumerate(found):
        assert list(one.similarities.values()) == sorted(one.similarities.values(), reverse=True)
        for name, cosine in one.similarities.items():
            assert cosine == pytest.approx(cosines[row, int(name[1])], abs=1e-6)
        assert one.name not in one.similarities
    best = max((1, 2, 3), key=lambda other: cosines[0, other])
    assert found[0].show(1) == f"#{best} {cosines[0, best]:.3f}"
    assert found[0].show(2).startswith(f"#{best} {cosines[0, best]:.3f}   #")
    np.testing.assert_allclose([float(value) for value in found[0].row(3).values()], vectors[0], rtol=1e-6)
    assert make_embedded(["#0"], vectors[:1])[0].show(3) == " ".join(f"{value:.4f}" for value in vectors[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "run"
    small = {"width": 16, "heads": 2, "hidden": 16, "depth": 1, "batch_size": 32}
    return zoo.train("sentence_encoder", dataset=DATES, epochs=1, directory=folder, quiet=True, **small)


@pytest.mark.slow
def test_a_run_is_judged_asked_and_shown(run, capsys):
    assert {"loss", "accuracy", "recall_at_1"} == set(found := zoo.evaluate(run, "test"))
    assert 0 <= found["recall_at_1"] <= 1
    two = zoo.predict(run, ["3 March 2011", "2011-03-03"])
    assert two[0].similarities["#1"] == pytest.approx(float(two[0].vector @ two[1].vector), abs=1e-6)
    cli.main(["predict", str(run.path), "3 March 2011", "2011-03-03"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"#0  #1 {two[0].similarities['#1']:.3f}", f"#1  #0 {two[0].similarities['#1']:.3f}"]
    cli.main(["predict", str(run.path), "3 March 2011", "--csv"])
    header, row = capsys.readouterr().out.splitlines()
    assert header == ",".join(["input", *(f"x{number}" for number in range(16))])
    np.testing.assert_allclose([float(value) for value in row.split(",")[1:]], two[0].vector, atol=1e-5)
    page = zoo.report(run).read_text()
    assert "Nearest texts" in page
    assert "cosine of its partner" in page


@pytest.mark.slow
def test_pairs_that_are_trained_on_are_found_again(tmp_path):
    run = zoo.train(
        "sentence_encoder", dataset="dates:train=4000,validation=200,test=400", epochs=6, directory=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    assert zoo.evaluate(run, "test")["recall_at_1"] > 0.3  # by chance 1 of 400


def test_a_batch_of_one_pair_is_refused():
    with pytest.raises(zoo.InputError, match=r"batch_size must be at least 2 pairs.*batch_size=1"):
        zoo.recipe("sentence_encoder", batch_size=1)
