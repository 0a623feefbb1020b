"""`zoo.tune`: makes a study, or goes on with one, and runs its trials."""

import numbers
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError, check_whole
from zoo.tuning.keeping import Keeper
from zoo.tuning.ledger import Ledger
from zoo.tuning.loop import Budget, Loop
from zoo.tuning.options import Options
from zoo.tuning.report.live import Table
from zoo.tuning.study import Study
from zoo.tuning.trial import ENDLESS, MOST_DISK
from zoo.tuning.workers import engines

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


def tune(
    recipe: "str | Recipe",
    *,
    space: Mapping[str, Any] | str | None = None,
    fixed: Mapping[str, Any] | None = None,
    oracle: str = "bayesian",
    objective: str | None = None,
    seed: int = 0,
    pruner: str | None = None,
    max_parameters: int | None = None,
    max_trials: int | None = None,
    max_time: float | None = None,
    max_trial_time: float | None = None,
    max_epochs_total: int | None = None,
    workers: int = 1,
    gpus_per_trial: int | None = None,
    engine: str = "local",
    address: str | None = None,
    keep: int | None = 3,
    max_disk: float | None = None,
    directory: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
) -> Study:
    """Tunes a recipe: runs trials whose fields an oracle chooses, and returns the study.

    The same call on the same folder goes on where it stopped; budgets and workers may change. With one worker, the
    same seed gives the same trials and scores.

    Args:
        recipe: a name such as `lenet/modern`, or a recipe.
        space: {field: range}, such as {"learning_rate": "1e-4..1e-1:log", "norm": ["batch", "group"]}. A single value
            pins its field, and `variant` searches the recipe's variants. None searches the few fields that matter
            most: learning rate, batch size, weight decay and those in `Recipe.tuned`. "all" searches every field that
            declares a range.
        fixed: {field: value}; `dataset` may be data in memory.
        oracle: "random", "grid", "bayesian" or "hyperband".
        objective: the metric to optimise, as an epoch reports it; None is the recipe's `monitor`.
        seed: the oracle's seed, a whole number from 0 to 2**31 - 1. The seed of the trials is the field `seed`.
        pruner: "median" or "halving" (asynchronous successive halving) stops trials that do badly; None stops none.
        max_parameters: networks with more parameters are skipped, and not counted.
        max_trials: how many trials there may be, without those skipped. As for the other budgets, None is no limit.
        max_time, max_trial_time: how many seconds the study, and each trial, may take.
        max_epochs_total: how many epochs all trials together may train.
        workers: how many trials run at once, 10,000 at most; they share the cores.
        gpus_per_trial: how many GPUs each trial has for itself; None shares them out.
        engine: "local", or "ray", which runs trials on the nodes of a Ray cluster.
        address: HOST:PORT of the cluster's head node.
        keep: how many of the best trials keep their weights; None is all.
        max_disk: GB that these weights may take; None is no limit.
        directory: the study's folder; None is `studies/<recipe>-<variant>-<digest of the definition>`.
        data_dir, skip_bad: as for `zoo.train`.
        quiet: print nothing.
    Raises: `InputError` (nothing is trained), `RunError` where no trial has a score, `Interrupted` (Ctrl-C, SIGTERM,
        SIGHUP).
    """
    options = Options.of(locals())
    budget = Budget(max_trials, max_time, max_trial_time, max_epochs_total)
    if keep is not None:
        keep = check_whole("keep", keep, 1)
    if max_disk is not None:
        number = isinstance(max_disk, numbers.Real) and not isinstance(max_disk, bool)
        if not number or not 0 <= max_disk <= MOST_DISK:
            raise InputError(f"max_disk must be GB, from 0 to {MOST_DISK:,.0f}. Received: max_disk={max_disk!r}.")
    with engines.opened(engine, address, workers, gpus_per_trial) as trials:
        with options.checked() as made:
            if oracle in ENDLESS and not budget.ends:
                raise InputError(f"The {oracle} oracle never ends: give max_trials, max_time or max_epochs_total.")
            ledger = Ledger.make(*made)
        study = Study(ledger)
        with ledger.writing(), Table(study, quiet) as table:
            loop = Loop(ledger, budget, trials, table, Keeper(ledger, keep, max_disk), data_dir, skip_bad)
            loop.run()
    return study
