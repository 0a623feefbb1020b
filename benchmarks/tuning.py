"""Studies beside plain keras-tuner and Optuna, and what a trial and a worker cost.

    python benchmarks/tuning.py

`search`: the best of 30 trials on three problems, ten seeds each, of which `benchmarks/losses` has the losses in tables
(`_losses.py`; `--tabulate NAME` makes one): the validation loss, and the test loss of the same network. Every tuner has
the same ranges, and bayesian ones as many first trials; ours begins with the recipe's default, as every study does.
`overhead`: seconds of a trial of a study over those of building and fitting the same networks one after the other in
this process. `workers`: trials an hour with two workers over one, each with one thread. `memory`: MiB of the study's
process after 5 trials and after 50. `proposal`: seconds of a bayesian proposal over keras-tuner's. `store`:
milliseconds of the events of a trial of the random oracle (propose, begin, note, end; nothing is trained) after 2,000
trials over those after 10.
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
from _losses import PROBLEMS, digits, loss, lowest, tabulate
from _pairs import paired, show

import zoo

SPACE = {
    "learning_rate": "1e-4..1e-1:log",
    "batch_size": [16, 32, 64, 128],
    "dropout": "0.0..0.5",
    "activation": ["tanh", "relu"],
}
TRIALS, EPOCHS = 30, 9
FIXED = {"epochs": EPOCHS, "monitor": "val_loss"}


def study(oracle, seed, folder, **options):
    options = {"max_trials": TRIALS, **options}
    return zoo.tune(
        "lenet", space=SPACE, fixed={**FIXED, "dataset": digits()}, oracle=oracle, seed=seed,
        directory=f"{folder}/study", quiet=True, **options,
    )  # fmt: skip


def ours(oracle):
    """Returns a function that searches a problem with an oracle of ours."""

    def search(name, seed, folder):
        from zoo import registry
        from zoo.tuning import ranges
        from zoo.tuning.definition import Definition
        from zoo.tuning.ledger import Ledger

        problem = PROBLEMS[name]
        recipe = registry.configured(problem.recipe, problem.fixed)
        searched, _ = ranges.read(recipe, problem.space(), {})
        definition = Definition(
            recipe=registry.saved(recipe), fixed={}, space={field: one.facts() for field, one in searched.items()},
            data={}, objective="val_loss", direction="min", oracle=oracle, seed=seed, pruner=None, max_parameters=None,
            initial_points=initial(searched),
        )  # fmt: skip
        found = []
        with Ledger.make(f"{folder}/study", definition).writing() as ledger:
            for _ in range(TRIALS):
                number = ledger.propose()
                found.append(loss(name, ledger.trial(number).values))
                ledger.end(number, "completed", found[-1][0], epochs=1)
        return found

    return search


def theirs(kind):
    """Returns a function that searches a problem with a tuner of keras-tuner's."""

    def search(name, seed, folder):
        import keras_tuner

        problem, found, hp = PROBLEMS[name], [], keras_tuner.HyperParameters()

        def declare(field):
            values = problem.grid[field]
            if field in problem.between:
                sampling = "log" if field == "learning_rate" else "linear"
                hp.Float(field, values[0], values[-1], sampling=sampling)
            else:
                hp.Choice(field, [texts(value) for value in values])

        for field in problem.grid:
            if field in problem.when:
                parent, value = problem.when[field]
                with hp.conditional_scope(parent, [texts(value)]):
                    declare(field)
            else:
                declare(field)

        class Tuner(getattr(keras_tuner, kind)):
            def run_trial(self, trial, **options):
                values = trial.hyperparameters.values
                found.append(loss(name, {field: read(problem, field, value) for field, value in values.items()}))
                return found[-1][0]

        options = {"num_initial_points": initial(problem.grid)} if kind == "BayesianOptimization" else {}
        tuner = Tuner(
            hyperparameters=hp, max_trials=TRIALS, seed=1 + 1000 * seed, directory=folder, project_name="kt", **options
        )
        tuner.search(verbose=0)
        return found

    return search


def optuna(name, seed, folder):
    """Searches a problem with Optuna's TPE."""
    import optuna as library

    library.logging.set_verbosity(library.logging.WARNING)
    problem, found = PROBLEMS[name], []

    def objective(trial):
        values = {}
        for field, grid in problem.grid.items():
            if field in problem.when and values[problem.when[field][0]] != problem.when[field][1]:
                continue
            if field in problem.between:
                values[field] = trial.suggest_float(field, grid[0], grid[-1], log=field == "learning_rate")
            else:
                values[field] = read(problem, field, trial.suggest_categorical(field, [texts(one) for one in grid]))
        found.append(loss(name, values))
        return found[-1][0]

    sampler = library.samplers.TPESampler(seed=seed, n_startup_trials=initial(problem.grid))
    library.create_study(sampler=sampler).optimize(objective, n_trials=TRIALS)
    return found


def initial(fields):
    """How many trials come before the first model, as in a study."""
    return max(min(3 * len(fields), TRIALS // 3), 1)


def texts(value):
    """A value of a choice in the form that every tuner takes: keras-tuner's and Optuna's choices refuse tuples."""
    return str(value) if isinstance(value, tuple) else value


def read(problem, field, value):
    """The inverse of `texts`."""
    return value if field in problem.between else {texts(one): one for one in problem.grid[field]}[value]


TUNERS = {
    "zoo, random": ours("random"),
    "zoo, bayesian": ours("bayesian"),
    "keras-tuner, random": theirs("RandomSearch"),
    "keras-tuner, bayesian": theirs("BayesianOptimization"),
    "Optuna, TPE": optuna,
}


def search(options):
    for name, problem in PROBLEMS.items():
        default = zoo.recipe(problem.recipe, **problem.fixed)
        start = loss(name, problem.active({field: getattr(default, field) for field in problem.grid}))
        print(f"\n{name}: {len(problem.points())} networks; lowest validation loss {lowest(name):.4f}, "
              f"of the default {start[0]:.4f} (test {start[1]:.4f})")  # fmt: skip
        print(f"{f'mean of {options.seeds} seeds, 95 %':<28}{'after 15':>18}{f'after {TRIALS}':>18}{'test loss':>18}")
        for tuner, function in TUNERS.items():
            if options.tuner not in tuner:
                continue
            rows = []
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    found = function(name, seed, folder)
                best = min(found)
                rows.append((min(found[:15])[0], *best))
            print(f"{tuner:<28}" + "".join(f"{interval(column):>18}" for column in zip(*rows, strict=True)), flush=True)


def interval(values):
    """The mean of values, and half the width of its 95 % interval."""
    return f"{np.mean(values):.4f} ± {1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.4f}"


def overhead(options):
    """Seconds a trial: a study's, its first excepted, and building and fitting alone."""
    count = 8
    with tempfile.TemporaryDirectory() as folder:
        found = study("random", 0, folder, max_trials=count)
        trials = [trial for trial in found.trials if trial.ended][1:]
        theirs = np.mean([trial.ended - trial.started for trial in trials])
        recipes = [found.recipe(trial) for trial in trials]
    held, alone = digits(), []
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
    parser.add_argument("--seeds", type=int, default=10, help="of the search")
    parser.add_argument("--tuner", default="", help="rows of the search with this in their name")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--tabulate", choices=PROBLEMS, help="train what the table of a problem lacks, and end")
    options = parser.parse_args()
    if options.tabulate:
        tabulate(options.tabulate)
        return
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(options)


if __name__ == "__main__":
    main()
