"""`zoo.reproduce`: trains weights that come with the package once more, and compares. `ship` makes such weights.

python -m zoo.reproducing lenet lenet/modern      # a developer's command: trains over three seeds and writes
"""

import dataclasses
import pathlib
import sys
import tempfile
import time
from typing import Any

from zoo import runs
from zoo.registry import recipe as recipe_of
from zoo.serving.prediction import evaluate
from zoo.training import train
from zoo.weights import hub

SEEDS = (0, 1, 2)

SCORES = ("accuracy", "mean_iou", "exact_match", "bits_per_character", "perplexity")
"""The first of these that `evaluate` gives is the score of a card."""

LOWER = ("bits_per_character", "perplexity")
"""Scores of which less is better."""


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What training weights once more gave.

    Attributes:
        name: of the weights.
        metric: the name of the score.
        score: on the test split, of this training.
        band: (lowest, highest) score that the card allows.
        within: whether the score is within the band, or better.
    """

    name: str
    metric: str
    score: float
    band: tuple[float, float]
    within: bool


def reproduce(
    name: str,
    *,
    directory: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    quiet: bool = True,
) -> Reproduction:
    """Trains the weights `zoo:NAME` once more, as their card says, and returns a `Reproduction`.

    Args:
        name: such as `lenet/modern`, with `zoo:` in front or not.
        directory: the run's folder; None trains in a temporary one. The same folder goes on where it was stopped.
        data_dir: as for `zoo.train`.
        quiet: print nothing.
    Raises: `InputError` for a name that does not come with the package.
    """
    shipped = runs.Shipped(name if name.startswith("zoo:") else f"zoo:{name}")
    card = shipped.card
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(directory or pathlib.Path(temporary, "run"))
        run = train(shipped.recipe, directory=folder, data_dir=data_dir, quiet=quiet)
        score = evaluate(run, "test", data_dir=data_dir)[card["metric"]]
    low, high = card["band"]
    within = score <= high if card["metric"] in LOWER else score >= low
    return Reproduction(shipped.name, card["metric"], score, (low, high), within)


def ship(name: str, directory: pathlib.Path, data_dir: str | None = None) -> dict[str, Any]:
    """Trains a recipe over `SEEDS`, writes the first run as weights of the package, and returns the card.

    Args:
        name: of a recipe or variant that has data of its own.
        directory: where the runs lie; a training that was stopped goes on.
        data_dir: as for `zoo.train`.
    """
    made, scores, seconds = [], [], []
    for seed in SEEDS:
        start = time.perf_counter()
        run = train(
            recipe_of(name, seed=seed),
            directory=directory / f"{name.replace('/', '-')}-{seed}",
            data_dir=data_dir,
            quiet=True,
        )
        seconds.append(round(time.perf_counter() - start, 1))
        found = evaluate(run, "test", data_dir=data_dir)
        metric = next(one for one in SCORES if one in found)
        scores.append(found[metric])
        made.append(run)
    card = make_card(name, made[0], metric, scores, seconds)
    runs.write_shipped(hub.shipped_folder(name), made[0], card)
    card["shipped"] = evaluate(f"zoo:{name}", "test", data_dir=data_dir)[metric]
    runs.write_shipped(hub.shipped_folder(name), made[0], card)
    return card


def make_card(name: str, run: runs.Run, metric: str, scores: list[float], seconds: list[float]) -> dict[str, Any]:
    """Returns the card of weights.

    Keys: name; command, which trains them; data, with name, fingerprint and sizes; metric, on the test split; seeds,
    scores and seconds of each; shipped, the score of the first seed's weights in float16 (`ship` adds it); band, the
    scores widened by their range to both sides, or by 1 % where they lie closer; device; versions; licence.
    """
    widened = max(max(scores) - min(scores), 0.01 * max(scores))
    return {
        "name": name,
        "command": f"zoo train {name}",
        "data": {key: run.facts["data"][key] for key in ("name", "fingerprint", "sizes")},
        "metric": metric,
        "seeds": list(SEEDS),
        "scores": scores,
        "seconds": seconds,
        "band": [min(scores) - widened, max(scores) + widened],
        "device": run.facts["device"]["device"],
        "versions": run.facts["versions"],
        "licence": "Apache-2.0",
    }


if __name__ == "__main__":
    for one in sys.argv[1:]:
        print(ship(one, pathlib.Path("runs", "shipped")))
