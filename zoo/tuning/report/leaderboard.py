"""The trials of a study as rows, the best first: as text, CSV, JSON and a pandas DataFrame."""

import json

from zoo import runs
from zoo.errors import InputError
from zoo.fields import show
from zoo.figures import cut
from zoo.tuning.report.snapshot import Snapshot

_COLUMNS = ("rank", "number", "status", "score", "epoch", "epochs", "seconds", "origin")
_FIELD = "fields."

LONG = 200
"""Letters of a reason that a table shows; CSV and JSON have it whole, and the trial's log has more."""


def rows(study, top=None):
    """[{column: value}], one a trial: those that are ranked, the best first, then the others by number.

    Columns are rank (from 1), number, status, score, epoch, epochs, seconds, origin, fields and reason. `fields` is
    {field: value} of those that differ between trials; a field that does not count in a trial is not in its own.

    Args:
        study: a `zoo.Study`.
        top: how many rows at most; None is all.
    """
    return listed(Snapshot.of(study), top)


def listed(study, top=None):
    """`rows` of a `Snapshot`."""
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


def differing(study):
    """The fields of a `Snapshot` that are not the same in all trials, in the order of the space; all, of one trial."""
    found = [trial.values for trial in study.trials]
    names = dict.fromkeys([*study.space, *(name for values in found for name in values)])
    if len(found) < 2:
        return [name for name in names if any(name in values for values in found)]
    shown = {name: {show(values[name]) if name in values else None for values in found} for name in names}
    return [name for name in names if len(shown[name]) > 1]


def seconds(trial):
    """How long a trial ran, to a tenth; None where that is not known."""
    if trial.seconds is not None:
        return round(trial.seconds, 1)
    return None if trial.started is None or trial.ended is None else round(trial.ended - trial.started, 1)


def as_cells(study, top=None):
    """Rows of text under a header, for a table that a person reads."""
    study = Snapshot.of(study)
    names = differing(study)
    header = ("rank", "trial", "status", study.objective, "epoch", "time", *names, "reason")
    found = [
        (
            str(row["rank"] or "-"),
            str(row["number"]),
            row["status"],
            "-" if row["score"] is None else f"{row['score']:.6g}",
            f"{row['epoch'] or '-'}/{row['epochs']}",
            duration(row["seconds"]),
            *(short(row["fields"][name]) if name in row["fields"] else "-" for name in names),
            cut(row["reason"] or "", LONG),
        )
        for row in listed(study, top)
    ]
    return [header, *found]


def short(value):
    """A field's value as a person reads it: four digits of a number."""
    return f"{value:.4g}" if isinstance(value, float) else show(value)


def duration(seconds):
    """A time as a person reads it: 42 s, 3 min 7 s, 2.1 h; - where there is none."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def as_csv(study, top=None):
    """CSV text with a header line; a field is the column `fields.NAME`, as a person types its value."""
    study = Snapshot.of(study)
    columns = _columns(study)
    named = {column for column in columns if column.startswith(_FIELD)}
    found = [{key: show(row[key]) if key in named else row[key] for key in row} for row in _flat(study, top)]
    return runs.table(found, columns)


def as_json(study, top=None):
    """`rows` as JSON text; a field of several numbers is a list."""
    return json.dumps(rows(study, top), indent=1, allow_nan=False)


def to_dataframe(study):
    """`rows` as a pandas DataFrame; a field is the column `fields.NAME`, and NaN or None where it does not count."""
    try:
        import pandas as pd
    except ImportError:
        raise InputError("A data frame needs pandas: pip install 'keras-zoo[pandas]'") from None

    study = Snapshot.of(study)
    return pd.DataFrame.from_records([*_flat(study)], columns=_columns(study))


def _columns(study):
    return [*_COLUMNS, *(_FIELD + name for name in differing(study)), "reason"]


def _flat(study, top=None):
    """`listed` with every field a column: a field may have the name of a column, such as epochs."""
    for row in listed(study, top):
        fields = row.pop("fields")
        yield {**row, **{_FIELD + name: value for name, value in fields.items()}}
