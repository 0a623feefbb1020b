"""Studies that were never run: what a study is for those who read one, with run folders that have curves alone."""

import dataclasses
import math
import pathlib

import numpy as np

from zoo import files, runs
from zoo.tuning.trial import Trial


@dataclasses.dataclass
class Study:
    """The part of a study that leaderboards and reports read."""

    path: pathlib.Path
    trials: list
    name: str = "lenet"
    objective: str = "val_loss"
    direction: str = "min"
    space: dict = dataclasses.field(
        default_factory=lambda: {
            "learning_rate": "1e-4..1e-1:log",
            "dropout": "0..0.5",
            "activation": "tanh,relu,gelu",
            "optimizer": "sgd,adam",
            "momentum": "0..0.99",
            "batch_size": "8..64:step=8",
            "filters": "6x16,12x32",
            "nesterov": "true,false",
        }
    )

    def ranked(self):
        scored = [trial for trial in self.trials if trial.status in ("completed", "pruned") and trial.score is not None]
        return sorted(
            scored, key=lambda trial: (trial.score if self.direction == "min" else -trial.score, trial.number)
        )


def drawn(path, count, *, seed=0, epochs=12, workers=2):
    """A study of `count` trials over fields of every kind, some pruned, failed or skipped.

    The learning rate alone matters much, the activation a little; momentum counts under SGD only.
    """
    rng = np.random.default_rng(seed)
    trials, free = [], [1.7e9] * workers
    for number in range(count):
        values = {
            "learning_rate": float(10 ** rng.uniform(-4, -1)),
            "dropout": float(rng.uniform(0, 0.5)),
            "activation": str(rng.choice(["tanh", "relu", "gelu"])),
            "optimizer": str(rng.choice(["sgd", "adam"])),
            "batch_size": int(rng.integers(1, 9)) * 8,
            "filters": [(6, 16), (12, 32)][rng.integers(2)],
            "nesterov": bool(rng.integers(2)),
        }
        if values["optimizer"] == "sgd":
            values["momentum"] = float(rng.uniform(0, 0.99))
        floor = 0.3 + 0.5 * (math.log10(values["learning_rate"]) + 2.3) ** 2 + 0.1 * (values["activation"] == "tanh")
        curve = floor + np.exp(-0.4 * np.arange(1, epochs + 1)) + rng.normal(0, 0.01, epochs)
        status = "failed" if number % 9 == 7 else "skipped" if number % 23 == 11 else "completed"
        if status == "failed":
            curve = curve[: number % 3]
        if status == "completed" and number > 4 and floor > 1.0:
            status, curve = "pruned", curve[: 2 + number % 4]
        start = min(free)
        ran = status != "skipped"
        end = start + (30 + 8 * len(curve)) * ran
        free[free.index(start)] = end
        trials.append(
            Trial(
                number=number,
                values=values,
                status=status,
                score=float(curve.min()) if status in ("completed", "pruned") else None,
                epoch=int(curve.argmin()) + 1 if status in ("completed", "pruned") else None,
                epochs=len(curve) if status != "skipped" else 0,
                reason={
                    "failed": f"val_loss became NaN in epoch {len(curve) + 1}, step 17: the last finite loss was 2.31.",
                    "skipped": "431,080 parameters are more than max_parameters=400,000.",
                    "pruned": f"Below the median of {number} trials at epoch {len(curve)}.",
                }.get(status),
                origin="oracle" if number else "default",
                started=start,
                ended=end,
                host="here",
                path=write_run(path, number, curve) if ran else None,
            )
        )
    return Study(path, trials)


def write_run(path, number, curve):
    """The folder of a trial's run, with the curve of `val_loss` alone."""
    folder = path / "trials" / f"{number:04d}"
    folder.mkdir(parents=True)
    rows = [{"epoch": epoch, "loss": value, "val_loss": value} for epoch, value in enumerate(map(float, curve), 1)]
    files.write(folder / "history.csv", runs.table(rows))
    return folder
