"""A run as HTML, for notebooks."""

from typing import TYPE_CHECKING

from zoo.fields import from_json, markup
from zoo.fields.texts import rounded, short, spoken
from zoo.runs import history

if TYPE_CHECKING:
    from zoo.runs.run import Run

LISTED = 10
"""How many epochs are shown at most: the last."""


def as_html(run: "Run") -> str:
    """Returns HTML of a run: its status, its best score, what was given, and its last epochs."""
    recipe, data = run.facts["recipe"], run.facts["data"]
    try:
        rows = history.read(run.path)
    except history.UNREADABLE:
        rows = []
    values = from_json(recipe.get("values", {}))
    monitor = values.get("monitor")
    best = history.best(run.path, rows, monitor)
    label = "/".join(str(part) for part in (recipe.get("name"), recipe.get("variant")) if part is not None)
    given = ", ".join(f"{name}={short(values.get(name))}" for name in recipe.get("given", ()))
    facts = [
        ("status", " ".join(part for part in (run.status.replace("_", " "), run.facts.get("reason", "")) if part)),
        ("folder", str(run.path)),
        ("data", data.get("name")),
        ("epochs", f"{len(rows)} of {values.get('epochs')}"),
        ("best", None if best is None else f"{spoken(str(monitor))} {rounded(best[1])} in epoch {best[0]}"),
        ("given", given or None),
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = markup.table([spoken(name) for name in columns], [[row.get(c) for c in columns] for row in rows[-LISTED:]])
    title = f"Last {LISTED} epochs" if len(rows) > LISTED else "Epochs"
    return markup.card(f"Run of {label}", facts, *([markup.folded(title, shown)] if rows else []))
