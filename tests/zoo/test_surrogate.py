import math

import numpy as np
import pytest

from zoo.tuning.ranges import Range
from zoo.tuning.surrogate import Surrogate, expected_improvement, softened

RANGES = {
    "rate": Range(low=1e-4, high=1e-1, log=True),
    "dropout": Range(low=0.0, high=0.5),
    "layers": Range(low=1, high=6),
    "width": Range(low=8, high=512, log=True),
    "units": Range(low=8, high=64, step=8),
    "batch": Range(values=(64, 16, 32)),
    "kind": Range(values=("plain", "gated", "mixed")),
    "sizes": Range(values=((8,), (8, 16), None)),
}
CONDITIONS = {"experts": {"kind": ["mixed"]}, "top": {"experts": [4, 8]}}


def surrogate(ranges=RANGES, default=None):
    default = default or {name: range.at(0.5) for name, range in ranges.items()}
    return Surrogate(ranges, {name: CONDITIONS.get(name, {}) for name in ranges}, default)


@pytest.mark.parametrize("name", RANGES)
def test_a_place_is_the_inverse_of_its_value(name):
    range = RANGES[name]
    for place in np.linspace(0, 1, 41):
        value = range.at(place)
        assert value == range.nearest(value)
        assert type(value) is type(range.nearest(value))
        if range.ordered:
            assert range.at(range.place(value)) == pytest.approx(value, rel=1e-12)


def test_uniform_places_give_every_whole_number_and_alternative_its_share():
    places = (np.arange(6000) + 0.5) / 6000
    for name, count in (("layers", 6), ("batch", 3), ("kind", 3)):
        _, shares = np.unique([str(RANGES[name].at(place)) for place in places], return_counts=True)
        np.testing.assert_array_equal(shares, 6000 // count)
    logs = np.log([RANGES["rate"].at(place) for place in places])
    np.testing.assert_allclose(np.diff(logs), math.log(1e3) / 6000, rtol=1e-6)


def test_a_value_outside_of_its_range_lies_at_the_end():
    assert RANGES["rate"].place(0.0) == 0.0
    assert RANGES["rate"].place(1.0) == 1.0


def test_numbers_lie_in_order_and_other_alternatives_equally_far_apart():
    def distance(name, one, other):
        model = surrogate({name: RANGES[name]})
        first, second = model._encoded([{name: one}, {name: other}])
        return float(np.linalg.norm(first - second))

    assert distance("batch", 16, 64) == pytest.approx(2 * distance("batch", 16, 32))
    pairs = (("plain", "gated"), ("gated", "mixed"), ("plain", "mixed"))
    assert [distance("kind", *pair) for pair in pairs] == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("order", [("kind", "experts", "top"), ("top", "experts", "kind")])
def test_points_have_exactly_the_active_fields(order):
    ranges = {"kind": RANGES["kind"], "experts": Range(values=(2, 4, 8)), "top": Range(low=1, high=3)}
    model = surrogate({name: ranges[name] for name in order}, {"kind": "mixed", "experts": 2})
    generator = np.random.RandomState(0)
    drawn = [model.draw(generator) for _ in range(200)]
    drawn += [model.draw_first(1, generator) for _ in range(200)]
    drawn += model.propose(drawn[:6], range(6), drawn[6:8], generator)
    for point in drawn:
        assert ("experts" in point) == (point["kind"] == "mixed")
        assert ("top" in point) == (point.get("experts") in (4, 8))


def test_every_other_first_draw_is_near_the_default():
    model, generator = surrogate({name: RANGES[name] for name in ("rate", "dropout")}), np.random.RandomState(0)

    def spread(count):
        return np.std([RANGES["rate"].place(model.draw_first(count, generator)["rate"]) for _ in range(300)])

    assert spread(1) < 0.2 < spread(0)


def test_expected_improvement_is_the_mean_of_what_is_gained():
    draws = np.random.RandomState(0).standard_normal(400_000)
    for mean, deviation in ((0.3, 0.5), (-1.0, 0.2), (2.0, 1.0)):
        gained = np.maximum(0.1 - (mean + deviation * draws), 0).mean()
        assert expected_improvement(np.array([mean]), np.array([deviation]), 0.1)[0] == pytest.approx(gained, abs=3e-3)
    sure = expected_improvement(np.array([0.0, 1.0]), np.zeros(2), 0.4)
    np.testing.assert_allclose(sure, [0.4, 0.0], atol=1e-9)


def test_how_bad_a_bad_score_is_changes_nothing():
    scores = [0.5, 0.2, 0.3, 0.25, 9.0]
    expected = softened(scores)
    for bad in (90.0, 1e11, math.inf):
        np.testing.assert_allclose(softened([*scores[:4], bad]), expected)
    np.testing.assert_array_equal(np.argsort(expected[:4]), np.argsort(scores[:4]))
    assert expected[4] == expected.max()
    for odd in ([1.0], [2.0, 2.0], [math.inf, 1.0, math.inf], [0.0, 0.0, 3.0]):
        assert np.isfinite(softened(odd)).all()


def test_the_scale_and_the_place_of_scores_change_no_proposal():
    model = surrogate()
    points = [model.draw(np.random.RandomState(seed)) for seed in range(8)]
    scores = np.random.RandomState(1).uniform(size=8)
    first, scaled = (
        model.propose(points, values, [], np.random.RandomState(2))[0] for values in (scores, 1024 * scores - 512)
    )
    assert first == scaled


def test_what_runs_is_not_proposed_again():
    model = surrogate({"rate": RANGES["rate"]})
    points = [{"rate": rate} for rate in (1e-4, 1e-3, 1e-2, 1e-1)]
    scores = [(math.log10(point["rate"]) + 2.4) ** 2 for point in points]
    first = model.propose(points, scores, [], np.random.RandomState(0))[0]
    second = model.propose(points, scores, [first], np.random.RandomState(0))[0]
    assert abs(RANGES["rate"].place(first["rate"]) - RANGES["rate"].place(second["rate"])) > 1e-3
