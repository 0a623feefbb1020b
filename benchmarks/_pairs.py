"""Paired timing: two ways of doing one thing, in turn, in one process; the ratio is the median over rounds."""

import argparse
import time

import numpy as np


def paired(first, second, *, rounds=20, warmup=2, clock=time.perf_counter):
    """(median ratio first / second, its 95 % interval, median seconds of each), each called once a round.

    `clock` may be `time.process_time`: seconds of work, whatever else the machine does.
    """
    for _ in range(warmup):
        first()
        second()
    times = []
    for turn in range(rounds):
        pair = (first, second)[:: 1 if turn % 2 else -1]
        times.append([timed(one, clock) for one in pair][:: 1 if turn % 2 else -1])
    times = np.array(times)
    ratios = times[:, 0] / times[:, 1]
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, rounds)), axis=1)
    return np.median(ratios), tuple(np.quantile(medians, [0.025, 0.975])), np.median(times, axis=0)


def show(name, result, goal=""):
    """Prints a line; `goal` is the ratio that the layer was to reach, or ""."""
    ratio, (low, high), (ours, theirs) = result
    times = f"{ours * 1e3:.1f} ms / {theirs * 1e3:.1f} ms"
    print(f"{name:<48}{ratio:>7.3f}   [{low:.3f}, {high:.3f}]   {times:<22}{goal}".rstrip(), flush=True)


def timed(function, clock=time.perf_counter):
    """Seconds of one call."""
    start = clock()
    function()
    return clock() - start


def run(description, parts, peers, heading, **numbers):
    """The command line of a benchmark in parts, functions of its options {name: function}; `numbers` are further
    options {name: default}."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", choices=parts, help="one part")
    parser.add_argument("--peers", default=",".join(peers), help="ways to run PyTorch; none for none")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    options.peers = [peer for peer in options.peers.split(",") if peer != "none"]
    print(f"{heading:<48}  ratio   interval         ours / theirs")
    for name, part in parts.items():
        if options.only in (None, name):
            part(options)
