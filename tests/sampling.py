"""Samples of matrices of cases. A seed draws them, so that a failure can be repeated: ZOO_TESTS_SEED, 0 by default.

TensorFlow runs every case. On JAX and torch, where each operation compiles alone or runs in Python, a parametrized test
runs with `CASES` of its cases; `pytest --whole` runs all of them there too.
"""

import collections
import os
import random

SEED = int(os.environ.get("ZOO_TESTS_SEED", "0"))

CASES = 2
"""How many cases of a parametrized test run on JAX and torch."""


def add_option(parser):
    parser.addoption("--whole", action="store_true", help="on JAX and torch, run all cases of parametrized tests")


def sampled(config):
    return os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow" and not config.getoption("--whole")


def header(config):
    return f"seed of samples: {SEED}" + (f", {CASES} cases of each test" if sampled(config) else "")


def deselect(config, items):
    """Leaves `CASES` items of each test function."""
    if not sampled(config):
        return
    cases = collections.defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    kept = {
        id(item)
        for name, all_of_it in cases.items()
        for item in random.Random(f"{SEED} {name}").sample(all_of_it, min(CASES, len(all_of_it)))
    }
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]
