"""Samples of matrices of cases. A seed draws them, so that a failure can be repeated: ZOO_TESTS_SEED, 0 by default.

A parametrized test of a layer or a network traces and compiles for each case. On JAX and torch, each such test runs
`CASES` of its cases. On TensorFlow, so do those in the files of `DEAR`, and tests marked `rest` do not run. Those named
in `DEAREST` run one case everywhere. `pytest --rest` runs what this leaves out, which CI does on TensorFlow;
`pytest --whole` runs everything.
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

DEAREST = (
    *("test_conforms", "test_sound_layers_pass", "test_fits_alike_in_all_modes", "test_heads_and_stages_train"),
    *("test_every_weight_learns", "test_of_a_long_prompt_its_end_counts"),
    "test_padding_and_other_sentences_change_no_answer",
)
"""Tests, in any file, of which each case takes seconds."""


def add_option(parser):
    parser.addoption("--whole", action="store_true", help="run all cases of the tests of layers and networks")
    parser.addoption("--rest", action="store_true", help="run the cases that the sample leaves out, and nothing else")


def header(config):
    if config.getoption("--whole"):
        return "all cases of each test"
    what = "all but the sample of" if config.getoption("--rest") else "a sample of"
    return f"{what} the cases of each test of layers and networks, seed {SEED}"


def deselect(config, items):
    """Leaves the sample; with `--rest` everything else alone."""
    if config.getoption("--whole"):
        return
    on_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    cases, left = collections.defaultdict(list), set()
    for item in items:
        if not item.get_closest_marker("backend"):
            continue
        if on_tensorflow and item.get_closest_marker("rest"):
            left.add(id(item))
        elif not on_tensorflow or item.path.stem in DEAR or item.originalname in DEAREST:
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, all_of_it in cases.items():
        count = 1 if all_of_it[0].originalname in DEAREST else CASES
        sample = random.Random(f"{SEED} {name}").sample(all_of_it, min(count, len(all_of_it)))
        left |= {id(item) for item in all_of_it} - {id(item) for item in sample}
    rest = config.getoption("--rest")
    config.hook.pytest_deselected(items=[item for item in items if (id(item) in left) != rest])
    items[:] = [item for item in items if (id(item) in left) == rest]
