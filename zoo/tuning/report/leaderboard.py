"""The leaderboard: the trials of a study as rows, the best first, in text, CSV, JSON and a pandas DataFrame."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zoo import runs
from zoo.errors import InputError, install_line
from zoo.fields import markup, show
from zoo.fields.texts import rounded, short
from zoo.figures import cut
from zoo.tuning.report.snapshot import Snapshot, Source
from zoo.tuning.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("rank", "number", "status", "score", "epoch", "epochs", "seconds", "origin")
_FIELD = "fields."

_FACTS = 6
"""How many columns of a table stand before the fields."""

_REASON = 24
"""Letters of a reason for which a table of every field has room."""

LONG = 200
"""How many letters of a reason a table shows. CSV and JSON have it whole, and the trial's log has more."""


def rows(study: Source, top: int | None = None) -> list[dict[str, Any]]:
    """Returns {column: value} for each trial: first the ranked ones, the best first, then the others by number.

    Columns are rank (from 1), number, status, score, epoch, epochs, seconds, origin, fields and reason. `fields` is
    {field: value} of those that differ between trials, without the fields that are inactive in the trial.

    Args:
        study: a `zoo.Study`.
        top: how many rows at most; None is all.
    """
    return listed(Snapshot.of(study), top)


def listed(study: Snapshot, top: int | None = None) -> list[dict[str, Any]]:
    """Returns the `rows` of a snapshot."""
    places = {trial.number: place for place, trial in enumerate(study.ranked, 1)}
    others = [trial for trial in study.trials if trial.number not in places]
    names = differing(study)
    return [
        {
            "rank": places.get(trial.number),
            "number": trial.number,
            "status": trial.status,
            "score": trial.score,
            "epoch": trial.epoch,
            "epochs": trial.epochs,
            "seconds": seconds(trial),
            "origin": trial.origin,
            "fields": {name: trial.values[name] for name in names if name in trial.values},
            "reason": trial.reason,
        }
        for trial in [*study.ranked, *others][:top]
    ]


def differing(study: Snapshot) -> list[str]:
    """Returns the fields that are not the same in all trials, in the order of the space; if there is one trial, all."""
    found = [trial.values for trial in study.trials]
    names = dict.fromkeys([*study.space, *(name for values in found for name in values)])
    if len(found) < 2:
        return [name for name in names if any(name in values for values in found)]
    shown = {name: {show(values[name]) if name in values else None for values in found} for name in names}
    return [name for name in names if len(shown[name]) > 1]


def seconds(trial: Trial) -> float | None:
    """Returns how long a trial ran, to a tenth of a second; None if that is not known."""
    if trial.seconds is not None:
        return round(trial.seconds, 1)
    return None if trial.started is None or trial.ended is None else round(trial.ended - trial.started, 1)


def as_cells(study: Source, top: int | None = None) -> list[tuple[str, ...]]:
    """Returns a header and rows of text, for a table that a person reads."""
    return _cells(Snapshot.of(study), top)


def _cells(study: Snapshot, top: int | None) -> list[tuple[str, ...]]:
    names = differing(study)
    header = ("rank", "trial", "status", study.objective, "epoch", "time", *names, "reason")
    found = [
        (
            str(row["rank"] or "-"),
            str(row["number"]),
            row["status"],
            "-" if row["score"] is None else rounded(row["score"]),
            f"{row['epoch'] or '-'}/{row['epochs']}",
            duration(row["seconds"]),
            *(short(row["fields"][name]) if name in row["fields"] else "-" for name in names),
            cut(row["reason"] or "", LONG),
        )
        for row in listed(study, top)
    ]
    return [header, *found]


def cells_within(study: Source, width: int, top: int | None = None) -> list[tuple[str, ...]]:
    """Returns a header and rows of text for a terminal of `width` letters.

    They are those of `as_cells` where these fit. Otherwise all fields share the last column: of each trial those that
    differ from the default's.
    """
    study = Snapshot.of(study)
    whole = _cells(study, top)
    *widths, reason = (max(map(len, column)) for column in zip(*whole, strict=True))
    if sum(widths) + 2 * len(widths) + min(reason, _REASON) <= width:
        return whole
    default = study.default and study.default.values
    told = ["fields unlike the default (all: --wide)" if default else "fields"]
    for row in listed(study, top):
        said = pairs(row["fields"], default, rest=False)
        parts = [said, row["reason"]] if row["rank"] else [row["reason"], said]
        told.append(cut("; ".join(part for part in parts if part), LONG))
    return [(*cells[:_FACTS], last) for cells, last in zip(whole, told, strict=True)]


def pairs(values: Mapping[str, Any], default: Mapping[str, Any] | None = None, rest: bool = True) -> str:
    """Returns fields as a person reads them, `learning_rate=0.01 norm=batch`: first those that differ from the default.

    Args:
        values: {field: value} of a trial.
        default: those of the default; None where they are not known, and all differ.
        rest: whether those that do not differ follow.
    """
    known = default or {}
    same = [name for name in values if name in known and known[name] == values[name]]
    unlike = [name for name in values if name not in same]
    if same and not unlike and not rest:
        return "the default"
    return " ".join(f"{name}={short(values[name])}" for name in (*unlike, *(same if rest else ())))


def as_html(study: Source, top: int = 20) -> str:
    """Returns HTML of the study and its `top` best trials, for a notebook."""
    study = Snapshot.of(study)
    header, *found = _cells(study, top)
    only = f"{top} of {len(study.trials):,}" if len(study.trials) > top else f"{len(study.trials):,}"
    facts = [
        ("folder", str(study.path)),
        ("objective", f"{study.direction} {study.objective}"),
        ("searched", ", ".join(study.space)),
        ("trials", only),
    ]
    table = [markup.table(header, found)] if found else []
    return markup.card(f"Study of {study.name}", facts, *table)


def duration(seconds: float | None) -> str:
    """Returns a time as a person reads it: 42 s, 3 min 7 s, 2.1 h; - for None."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def as_csv(study: Source, top: int | None = None) -> str:
    """Returns CSV text with a header line; a field is the column `fields.NAME`, as a person types its value."""
    study = Snapshot.of(study)
    columns = _columns(study)
    named = {column for column in columns if column.startswith(_FIELD)}
    found = [{key: show(row[key]) if key in named else row[key] for key in row} for row in _flat(study, top)]
    return runs.table(found, columns)


def as_json(study: Source, top: int | None = None) -> str:
    """Returns `rows` as JSON text; a field of several numbers is a list."""
    return json.dumps(rows(study, top), indent=1, allow_nan=False)


def to_dataframe(study: Source) -> "pd.DataFrame":
    """Returns `rows` as a pandas DataFrame; a field is the column `fields.NAME`, NaN or None where it is inactive."""
    try:
        import pandas as pd
    except ImportError:
        raise InputError(f"A data frame needs pandas: {install_line('pandas')}.") from None

    study = Snapshot.of(study)
    return pd.DataFrame.from_records([*_flat(study)], columns=_columns(study))


def _columns(study):
    return [*_COLUMNS, *(_FIELD + name for name in differing(study)), "reason"]


def _flat(study: Snapshot, top: int | None = None) -> Iterator[dict[str, Any]]:
    """`listed` with every field a column: a field may have the name of a column, such as epochs."""
    for row in listed(study, top):
        fields = row.pop("fields")
        yield {**row, **{_FIELD + name: value for name, value in fields.items()}}
