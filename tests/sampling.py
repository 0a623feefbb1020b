"""Samples of matrices of cases. A seed draws them, so that a failure can be repeated: ZOO_TESTS_SEED, 0 by default.

A parametrized test of a layer or a network, which traces and compiles for each case, runs with `CASES` of its cases: on
TensorFlow those in `DEAR`, on JAX and torch all. `pytest --rest` runs the others, which CI does on TensorFlow, and
`pytest --whole` runs all of them.
"""

import collections
import os
import random

SEED = int(os.environ.get("ZOO_TESTS_SEED", "0"))

CASES = 2
"""How many cases of a parametrized test are a sample."""

DEAR = (
    *("test_ode_block", "test_mixture_of_experts", "test_expert_feed_forward", "test_attention_rnn", "test_sequences"),
    *("test_text_recipes", "test_testing", "test_resnet"),
)
"""Files whose cases take most of the quick suite's time on TensorFlow; what other files would save is little."""


def add_option(parser):
    parser.addoption("--whole", action="store_true", help="run all cases of the tests of layers and networks")
    parser.addoption("--rest", action="store_true", help="run the cases that the sample leaves out, and nothing else")


def header(config):
    if config.getoption("--whole"):
        return "all cases of each test"
    what = "all but the sample of" if config.getoption("--rest") else "a sample of"
    return f"{what} {CASES} cases of each test of layers and networks, seed {SEED}"


def deselect(config, items):
    """Leaves `CASES` items of each test that is sampled; with `--rest` the other items of those alone."""
    if config.getoption("--whole"):
        return
    on_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    cases = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("backend") and (not on_tensorflow or item.path.stem in DEAR):
            cases[item.nodeid.partition("[")[0]].append(item)
    left = {
        id(item)
        for name, all_of_it in cases.items()
        for item in _without(all_of_it, random.Random(f"{SEED} {name}").sample(all_of_it, min(CASES, len(all_of_it))))
    }
    rest = config.getoption("--rest")
    config.hook.pytest_deselected(items=[item for item in items if (id(item) in left) != rest])
    items[:] = [item for item in items if (id(item) in left) == rest]


def _without(items, sample):
    chosen = set(map(id, sample))
    return [item for item in items if id(item) not in chosen]
