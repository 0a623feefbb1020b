"""Paired timing: two ways of doing one thing, in turn, in one process; the ratio is the median over rounds."""

import time

import numpy as np


def paired(first, second, *, rounds=20, warmup=2):
    """(median ratio first / second, its 95 % interval, median seconds of each), each called once a round."""
    for _ in range(warmup):
        first()
        second()
    times = np.array([(_time(first), _time(second)) if turn % 2 else (_time(second), _time(first))[::-1]
                      for turn in range(rounds)])  # fmt: skip
    ratios = times[:, 0] / times[:, 1]
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, rounds)), axis=1)
    return np.median(ratios), tuple(np.quantile(medians, [0.025, 0.975])), np.median(times, axis=0)


def show(name, result):
    ratio, (low, high), (ours, theirs) = result
    print(
        f"{name:<44}{ratio:>7.3f}   [{low:.3f}, {high:.3f}]   {ours * 1e3:.1f} ms / {theirs * 1e3:.1f} ms", flush=True
    )


def _time(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
