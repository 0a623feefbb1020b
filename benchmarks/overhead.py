"""What `zoo` adds to plain Keras: a step of `model.fit`, and the start of the program.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --only verbs --against PATH     # another checkout, such as an older one

Step: twenty epochs of LeNet on the digits as `zoo.train` runs them (its pipeline and the callbacks that act in a step;
not validation and checkpoints, which plain Keras has not) against the same network written directly in Keras on
tensors that are ready in memory; 20 rounds in turn. Start: whole processes, 5 each, medians. Verbs: what a command
takes on a run of LeNet, from a shell to its end, in seconds of the clock and of processors (which waiting for other
work does not change much); with another checkout, the two in turn.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from _pairs import paired, show


def plain_lenet():
    """LeNet as a Keras user writes it."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Rescaling(1.275 / 255, offset=-0.1),
            layers.Conv2D(6, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def steps(rounds, epochs):
    """Prints the ratio of a step of ours to one of plain Keras, with and without the recipe's augmentation."""
    import keras
    import tensorflow as tf

    from zoo.data import pipeline
    from zoo.registry import open_recipe
    from zoo.training.callbacks import EpochSeeds, FiniteLoss

    still = {"rotation": 0.0, "shear": 0.0, "zoom": 0.0, "shift": 0.0}
    for batch_size, given, what in (
        (32, still, "no augmentation"),
        (128, still, "no augmentation"),
        (32, {}, "augmentation"),
        (128, {}, "augmentation"),
    ):
        recipe, source = open_recipe("lenet/modern", {"batch_size": batch_size, **given})
        preparation = recipe.make_preparation(recipe.make_reader(source), source)
        count = pipeline.steps_per_epoch(source, preparation, batch_size)
        batches = pipeline.training(source, preparation, batch_size=batch_size, seed=0, epochs=range(epochs))
        ours = recipe.build(count)
        theirs = plain_lenet()
        theirs.compile(
            keras.optimizers.AdamW(2e-3, weight_decay=0.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy()],
        )
        ready = tf.data.Dataset.from_tensors(next(iter(batches))).repeat(len(batches))
        callbacks = [EpochSeeds(0), FiniteLoss()]

        def fit(model, data, callbacks, steps):
            options = {"epochs": epochs, "steps_per_epoch": steps, "shuffle": False, "verbose": 0}
            return lambda: model.fit(data, callbacks=callbacks, **options)

        result = paired(fit(ours, batches, callbacks, count), fit(theirs, ready, [], count), rounds=rounds)
        show(f"fit, LeNet, batch {batch_size}, {what}, zoo / plain", result)


def starts(runs):
    """Prints medians of whole processes, and of `import keras` beside them."""
    commands = {
        "import zoo": ["-c", "import zoo"],
        "zoo --help": ["-m", "zoo", "--help"],
        "zoo list": ["-m", "zoo", "list"],
        "import keras": ["-c", "import keras"],
        "zoo show lenet": ["-m", "zoo", "show", "lenet"],
    }
    times = {name: [] for name in commands}
    for _ in range(runs):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    for name, found in times.items():
        print(f"{name:<44}{statistics.median(found):>7.2f} s   [{min(found):.2f}, {max(found):.2f}]", flush=True)


def whole():
    """Prints the seconds of `zoo train lenet` from a shell to its end, data prepared anew."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "zoo", "train", "lenet", "--directory", f"{folder}/run", "--data-dir", folder]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        print(f"{'zoo train lenet, from a shell to the end':<44}{time.perf_counter() - start:>7.1f} s", flush=True)


def verbs(rounds, against):
    """Prints the seconds of commands on a finished run, of this checkout and of another."""
    here = pathlib.Path(__file__).resolve().parents[1]
    trees = {"here": here} if against is None else {"before": pathlib.Path(against).resolve(), "here": here}
    with tempfile.TemporaryDirectory() as folder:
        run, image, out = f"{folder}/run", f"{folder}/image.png", f"{folder}/out"
        _picture(image)
        commands = {
            "zoo show lenet": ["show", "lenet"],
            "zoo predict RUN FILE": ["predict", run, image],
            "zoo evaluate RUN": ["evaluate", run],
            "zoo report RUN": ["report", run, "--directory", out],
            "zoo export RUN DIR": ["export", run, out],
        }
        train = ["train", "lenet", "epochs=2", "--directory", run, "--data-dir", folder]
        _seconds(here, train, folder)
        found = {}
        for _ in range(rounds):
            for name, arguments in commands.items():
                for tree, path in trees.items():
                    shutil.rmtree(out, ignore_errors=True)
                    found.setdefault((name, tree), []).append(_seconds(path, arguments, folder))
        print(f"{'medians of ' + str(rounds) + ', in seconds':<28}{'':<8}{'clock':>8}{'processors':>12}")
        for (name, tree), times in found.items():
            clock, processors = (statistics.median(part) for part in zip(*times, strict=True))
            print(f"{name:<28}{tree:<8}{clock:>8.1f}{processors:>12.1f}", flush=True)


def _picture(path):
    """Writes an image that a run of LeNet takes."""
    import numpy as np
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), "uint8")).save(path)


def _seconds(tree, arguments, data):
    """(of the clock, of processors) that a command of the checkout `tree` takes."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "ZOO_DATA": data}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "zoo", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=data)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20, help="epochs in one round")
    parser.add_argument("--only", choices=("start", "step", "verbs"), help="one of the three")
    parser.add_argument("--against", metavar="PATH", help="another checkout, whose verbs are measured too")
    options = parser.parse_args()
    if options.only in (None, "start"):
        starts(5)
        whole()
    if options.only in (None, "verbs"):
        verbs(min(5, options.rounds), options.against)
    if options.only in (None, "step"):
        steps(options.rounds, options.epochs)


if __name__ == "__main__":
    main()
