"""Studies of LeNet on 200 training digits beside plain keras-tuner and Optuna, and what a trial and a worker cost.

    python benchmarks/tuning.py

`search`: the lowest validation loss of 30 trials over four fields, for each seed; every tuner has the same ranges, data
and epochs, and bayesian ones as many random trials first. `overhead`: seconds of a trial of a study over those of
building and fitting the same networks one after the other in this process. `workers`: trials an hour with two workers
over one, each with one thread. `memory`: MiB of the study's process after 5 trials and after 50.
`proposal`: seconds of a bayesian proposal over keras-tuner's. `store`: milliseconds of the events of a trial of the
random oracle (propose, begin, note, end; nothing is trained) after 2,000 trials over those after 10.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import tempfile
import time
import warnings

import keras
import numpy as np
from _pairs import paired, show
from sklearn.datasets import load_digits

import zoo
from zoo.data.memory_source import stratified

SPACE = {
    "learning_rate": "1e-4..1e-1:log",
    "batch_size": [16, 32, 64, 128],
    "dropout": "0.0..0.5",
    "activation": ["tanh", "relu"],
}
TRIALS, EPOCHS = 30, 9
FIXED = {"epochs": EPOCHS, "monitor": "val_loss"}
INITIAL = min(3 * len(SPACE), TRIALS // 3)


def data():
    """200 digits to train on, and the validation split of all."""
    digits = load_digits()
    rows = stratified(digits.target)
    pictures = np.round(digits.images[..., None] * 255 / 16).astype("uint8")
    chosen = {"train": rows["train"][:: len(rows["train"]) // 200][:200], "validation": rows["validation"]}
    return {split: (pictures[found], digits.target[found]) for split, found in chosen.items()}


def study(oracle, seed, folder, **options):
    options = {"max_trials": TRIALS, **options}
    return zoo.tune(
        "lenet", space=SPACE, fixed={**FIXED, "dataset": data()}, oracle=oracle, seed=seed,
        directory=f"{folder}/study", quiet=True, **options,
    )  # fmt: skip


def ours(oracle, seed, folder):
    return study(oracle, seed, folder).best_trial().score


def theirs(oracle, seed, folder):
    """Plain keras-tuner, over the recipe as a `HyperModel`."""
    import keras_tuner

    made = {
        "random": lambda **o: keras_tuner.RandomSearch(max_trials=TRIALS, **o),
        "bayesian": lambda **o: keras_tuner.BayesianOptimization(max_trials=TRIALS, num_initial_points=INITIAL, **o),
        "hyperband": lambda **o: keras_tuner.Hyperband(max_epochs=EPOCHS, **o),
    }[oracle]
    model = zoo.hypermodel("lenet", space=SPACE, fixed={**FIXED, "dataset": data()})
    objective = keras_tuner.Objective("val_loss", "min")
    tuner = made(hypermodel=model, objective=objective, seed=seed + 1, directory=folder, project_name="kt")
    tuner.search(verbose=0)
    return tuner.oracle.get_best_trials(1)[0].score


def optuna(seed, folder):
    """Optuna's TPE, each trial a `zoo.train`."""
    import optuna as library

    library.logging.set_verbosity(library.logging.WARNING)

    def objective(trial):
        fields = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "batch_size": trial.suggest_categorical("batch_size", SPACE["batch_size"]),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "activation": trial.suggest_categorical("activation", SPACE["activation"]),
        }
        run = zoo.train("lenet", **FIXED, **fields, dataset=data(), directory=f"{folder}/{trial.number}", quiet=True)
        return min(row["val_loss"] for row in run.history)

    found = library.create_study(sampler=library.samplers.TPESampler(seed=seed, n_startup_trials=INITIAL))
    found.optimize(objective, n_trials=TRIALS)
    return found.best_value


def search(options):
    heads = [*(f"seed {seed}" for seed in range(options.seeds)), "mean"]
    print(f"{f'lowest val_loss of {TRIALS} trials':<32}" + "".join(f"{head:>8}" for head in heads), flush=True)
    rows = [(f"zoo, {oracle}", ours, (oracle,)) for oracle in ("random", "bayesian", "hyperband")]
    rows += [(f"keras-tuner, {oracle}", theirs, (oracle,)) for oracle in ("random", "bayesian", "hyperband")]
    rows = [row for row in [*rows, ("Optuna, TPE", optuna, ())] if options.tuner in row[0]]
    for name, function, arguments in rows:
        scores = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                scores.append(function(*arguments, seed, folder))
        print(f"{name:<32}" + "".join(f"{score:>8.3f}" for score in [*scores, np.mean(scores)]), flush=True)


def overhead(options):
    """Seconds a trial: a study's, its first excepted, and building and fitting alone."""
    count = 8
    with tempfile.TemporaryDirectory() as folder:
        found = study("random", 0, folder, max_trials=count)
        trials = [trial for trial in found.trials if trial.ended][1:]
        theirs = np.mean([trial.ended - trial.started for trial in trials])
        recipes = [found.recipe(trial) for trial in trials]
    held, alone = data(), []
    for recipe in recipes:
        start = time.perf_counter()
        model = zoo.build(recipe, dataset=held)
        batches, validation = (zoo.dataset(model, split, dataset=held) for split in ("train", "validation"))
        model.fit(batches, epochs=recipe.epochs, validation_data=validation, shuffle=False, verbose=0)
        alone.append(time.perf_counter() - start)
        keras.backend.clear_session()
    alone = np.mean(alone)
    print(f"{'a trial of a study: seconds':<48}{theirs:>7.2f}   build and fit alone {alone:.2f}", flush=True)


def workers(options):
    """Trials an hour of two workers over one."""
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        study("random", 0, folder, max_trials=1)  # the server that trials are forked from is started once
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            study("random", 0, folder, max_trials=12, workers=count)
            seconds[count] = time.perf_counter() - start
    print(f"{'two workers over one: trials an hour':<48}{seconds[1] / seconds[2]:>7.2f}   at least 1.6", flush=True)


def memory(options):
    """MiB of this process, which proposes, after 5 and after 50 trials that others train."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (5, 50):
            zoo.tune(
                "mlp", fixed={"dataset": "xor", "epochs": 2}, max_trials=count, directory=f"{folder}/study", quiet=True
            )
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            found[count] = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    print(
        f"{'MiB of a study after 5 trials, after 50':<48}{found[5]:>7.1f}{found[50]:>8.1f}   10 % more at most",
        flush=True,
    )


def proposal(options):
    """Seconds of bayesian's next point of all fields of mlp after 40 trials, over those of keras-tuner's own."""
    import keras_tuner

    from zoo import registry
    from zoo.tuning import oracles, ranges
    from zoo.tuning.space import Space

    recipe = registry.configured("mlp", {})
    searched = Space(recipe, *ranges.read(recipe, "all", {}))
    oracle = oracles.Oracle("bayesian", searched, "val_loss", "min", 0, EPOCHS, 39, lambda values: True)
    for _ in range(40):
        asked = oracle.ask()
        values = searched.read(asked.kept)
        oracle.tell(asked.id, abs(np.log10(values["learning_rate"]) + 2))
    model = oracle._oracle
    theirs = keras_tuner.oracles.BayesianOptimizationOracle.populate_space
    result = paired(lambda: model.populate_space("next"), lambda: theirs(model, "next"), rounds=5, warmup=1)
    show(f"a point of {len(searched.ranges)} fields over keras-tuner's", result)


def store(options):
    """Milliseconds of the events of a trial in a study of 2,000 trials, over those in a study of 10."""
    from zoo import registry
    from zoo.tuning import ranges
    from zoo.tuning.definition import Definition
    from zoo.tuning.ledger import Ledger

    recipe = registry.configured("lenet", {})
    searched, _ = ranges.read(recipe, SPACE, {})
    definition = Definition(
        recipe=registry.saved(recipe), fixed={}, space={name: one.facts() for name, one in searched.items()}, data={},
        objective="val_loss", direction="min", oracle="random", seed=0, pruner=None, max_parameters=None,
        initial_points=1,
    )  # fmt: skip

    def event(ledger):
        number = ledger.propose()
        ledger.begin(number)
        ledger.note(1.0, {number: (1.0, 1)})
        ledger.end(number, "completed", 1.0 / (number + 1), epoch=1, epochs=1)

    with contextlib.ExitStack() as stack:
        ledgers = []
        for count in (2000, 10):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            ledgers.append(stack.enter_context(Ledger.make(f"{folder}/study", definition).writing()))
            ledgers[-1]._store._connection.execute("PRAGMA synchronous=OFF")  # to get there sooner
            for _ in range(count):
                event(ledgers[-1])
            ledgers[-1]._store._connection.execute("PRAGMA synchronous=FULL")
        for name, clock in (("", time.perf_counter), (", processor", time.process_time)):
            result = paired(*(functools.partial(event, one) for one in ledgers), rounds=100, clock=clock)
            show(f"events of a trial after 2,000 over after 10{name}", result, "1.5 at most")


PARTS = {
    "proposal": proposal,
    "store": store,
    "search": search,
    "overhead": overhead,
    "workers": workers,
    "memory": memory,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2, help="of the search")
    parser.add_argument("--tuner", default="", help="rows of the search with this in their name")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(options)


if __name__ == "__main__":
    main()
