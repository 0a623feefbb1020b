"""The page about a study: what was found, what it depends on, and what went wrong."""

import collections
import functools
import pathlib
import shlex

from zoo import figures
from zoo.fields.texts import rounded, short, spoken
from zoo.figures import pages
from zoo.tuning.report import drawing, importance, leaderboard
from zoo.tuning.report.scales import scales
from zoo.tuning.report.snapshot import Snapshot, Source
from zoo.tuning.trial import COMPLETED, PAUSED, PRUNED, RUNNING, STATUSES, UNSCORED

SHOWN = 12
"""How many fields figures show at most: the most important ones."""

TRUSTED = 0.1
"""The share of the variance that a random forest must explain for its importances to be shown."""

LISTED = 200
"""How many trials a table lists at most."""

LONG = 500
"""How many letters of a reason the page shows."""

_UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}


def report(study: Source, directory: str | pathlib.Path | None = None) -> pathlib.Path:
    """Writes a page about a study and its pictures, whole or not at all, and returns the page's path.

    The page needs no other file and no network; it replaces an older one, and may be written while trials run.

    Args:
        study: a `zoo.Study`.
        directory: where `index.html` and the pictures go; None is the folder `report` of the study.
    Raises: `InputError` where `directory` holds anything but a report; `RunError` where it cannot be written.
    """
    target = pathlib.Path(directory) if directory is not None else study.path / "report"
    pages.refuse_foreign(target)
    study = Snapshot.of(study)
    pages.put_in_place(target, pages.written("tuning/report/page.html.j2", _facts(study), parts(study)))
    return target / "index.html"


# What is said -------------------------------------------------------------------------------------------------------


def _facts(study):
    """What the page's template is filled with, beside the parts."""
    better = "lower" if study.direction == "min" else "higher"
    return {
        "label": study.name,
        "summary": f"{_counted(len(study.trials), 'trial')} over {_counted(len(study.space), 'field')}, judged by "
        f"{spoken(study.objective)}: the {better} the better.",
        "notes": _notes(study),
        "tiles": _tiles(study),
        "best": _best(study),
        "commands": _commands(study),
    }


def _counted(count, noun):
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _notes(study):
    if study.ranked:
        return []
    if not study.trials:
        return ["No trial was begun yet."]
    ended = [trial for trial in study.trials if trial.status not in (PAUSED, RUNNING)]
    if not ended:
        return ["No trial has ended yet."]
    return [f"None of the {_counted(len(ended), 'trial')} that ended has a score: the reasons are below."]


def _tiles(study):
    """(what, value) of the few numbers that somebody looks for first."""
    ranked = study.ranked
    counts = collections.Counter(trial.status for trial in study.trials)
    states = [(status, counts[status]) for status in STATUSES]
    best = [(f"best {spoken(study.objective)}", ranked[0].score), ("best trial", ranked[0].number)] if ranked else []
    times = [leaderboard.seconds(trial) or 0 for trial in study.trials]
    return [
        *best,
        *((status, count) for status, count in states if count or status == COMPLETED),
        ("epochs trained", sum(trial.epochs for trial in study.trials)),
        ("time of all trials", leaderboard.duration(sum(times))),
    ]


def _best(study):
    """The `Table` of the best trial's fields beside the default's, and a sentence before it; None without a score."""
    ranked = study.ranked
    if not ranked:
        return None
    best = ranked[0]
    default = study.default
    epoch = f" in epoch {best.epoch} of {best.epochs}" if best.epoch else ""
    line = f"Trial {best.number}, {spoken(study.objective)} {rounded(best.score)}{epoch}."
    if default is best:
        line += " It is the default."
    elif default is not None and default.score is not None:
        line += f" The default, trial {default.number}, has {rounded(default.score)}."
    names = dict.fromkeys([*study.space, *best.values])
    shown = {"best": best} | ({} if default is None else {"default": default})
    rows = [(name, *(_value(trial, name) for trial in shown.values()), study.space.get(name)) for name in names]
    return line, figures.Table(("field", *shown, "range"), rows)


def _value(trial, name):
    """Returns a field of a trial, numbers to four digits; None where the field is inactive."""
    return short(trial.values[name]) if name in trial.values else None


def _commands(study):
    """(what for, command) of what one does next."""
    folder = str(study.path)
    again = [("Retrain the best fields over several seeds", ["zoo", "train", "--best-of", folder, "--seeds", "3"])]
    export = [("Export the best trial", ["zoo", "export", folder, f"exports/{study.path.name}"])]
    lines = [*(again + export if study.ranked else []), ("List all trials", ["zoo", "leaderboard", folder])]
    return [(what, shlex.join(command)) for what, command in lines]


# What is shown ------------------------------------------------------------------------------------------------------


def parts(study: Snapshot) -> "list[figures.Part]":
    """Returns the parts of the page; those about scores only if there are any."""
    ranked, histories = study.ranked, drawing.histories(study)
    found = []
    if ranked:
        found += [_progress(study), *_about_fields(study)]
    if histories:
        found.append(_curves(study, histories))
    return [*found, *_failures(study), *_trials(study)]


def _beyond(study, values):
    """What a caption says of values that an axis does not reach."""
    count = drawing.Window(values, study.direction).beyond
    return f" {_counted(count, 'value')} beyond the axis lie{'s' if count == 1 else ''} at its edge." if count else ""


def _progress(study):
    ranked = study.ranked
    pruned = ", circles those that were pruned" if any(trial.status == PRUNED for trial in ranked) else ""
    clock = ended(study)
    timed = "Time in which no trial ran is left out." if clock[1] != "trial" else "Times are not known of all trials."
    return figures.Part(
        name="progress",
        title="Best so far",
        caption=f"A dot is a trial with a score{pruned}; the ring is the best. {timed}"
        f"{_beyond(study, [trial.score for trial in ranked])}",
        draw=functools.partial(drawing.progress, study, clock),
    )


def _span(trial):
    """When a trial began and ended, as if it had not paused."""
    return trial.ended - (leaderboard.seconds(trial) or 0.0), trial.ended


def ended(study: Snapshot) -> tuple[dict[int, float], str]:
    """Returns ({number of a ranked trial: when it ended}, unit), counting only time in which some trial ran.

    A study that was stopped on Friday and continued on Monday took no weekend. The unit is seconds, minutes or hours,
    whichever fits; if some time is not known, it is "trial", and trials come one after another.
    """
    ranked = study.ranked
    if any(trial.started is None or trial.ended is None for trial in ranked):
        return {number: place for place, number in enumerate(sorted(trial.number for trial in ranked), 1)}, "trial"
    spans = []  # of the trials, those that overlap as one
    for start, end in sorted(_span(t) for t in study.trials if None not in (t.started, t.ended)):
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    busy = {t.number: sum(min(end, t.ended) - start for start, end in spans if start < t.ended) for t in ranked}
    unit, size = next((unit, size) for unit, size in _UNITS.items() if max(busy.values()) >= 2 * size or size == 1)
    return {number: time / size for number, time in busy.items()}, unit


def _about_fields(study):
    """The parts that say what scores depend on; none where the trials do not differ."""
    ranked = study.ranked
    known = scales(study)
    if not known or len(ranked) < 2:
        return []
    found = importance.measure(ranked, known)
    names = list(known) if found is None else list(found.shares)
    shown = {name: known[name] for name in names[:SHOWN]}
    which = f" Only {SHOWN} of {len(names)} fields are shown." if len(names) > SHOWN else ""
    beyond = _beyond(study, [trial.score for trial in ranked])
    absent = any(name not in trial.values for trial in ranked for name in shown)
    aside = " Where a field does not count, the line passes it on the right." if absent else ""
    return [
        figures.Part(
            name="parallel",
            title="Parallel coordinates",
            caption="A line down the rows is a trial: the better its rank, the deeper its colour, and the best stands "
            f"out.{aside}{which}{beyond}",
            draw=functools.partial(drawing.parallel, study, shown),
        ),
        _importance(found, len(ranked), which),
        figures.Part(
            name="slices",
            title="Slices",
            caption=f"The scores by the values of one field at a time; a trial in which it does not count is not "
            f"shown.{which}{beyond}",
            draw=functools.partial(drawing.slices, study, shown),
        ),
    ]


def _importance(found, count, which):
    title = "Importance of each field"
    if found is None:
        why = f"{importance.FEWEST} trials with a score are needed, and scores that differ. There are {count} trials."
        return figures.Part("importance", title, f"Not measured: {why}")
    trust = f"it explains {max(found.explained, 0):.0%} of their variance"
    if found.explained < TRUSTED:
        why = f"a random forest does not predict the ranks of trials that it has not seen: {trust}."
        return figures.Part("importance", title, f"Not shown: {why}")
    return figures.Part(
        name="importance",
        title=title,
        caption="How much worse a random forest predicts the ranks of trials that it has not seen when the values of a "
        f"field are shuffled between them; {trust}. Fields that change together share their importance.{which}",
        draw=functools.partial(drawing.bars, found, SHOWN),
    )


def _curves(study, histories):
    if max(map(len, histories.values())) == 1:
        return figures.Part("curves", "Curves", "Each trial has trained one epoch, so there are no curves.")
    named = min(sum(trial.number in histories for trial in study.ranked), drawing.NAMED)
    best = f" The best {'one is' if named == 1 else f'{named} are'} named by trial and score." if named else ""
    beyond = _beyond(study, [value for rows in histories.values() for _, value in rows])
    return figures.Part(
        name="curves",
        title="Curves",
        caption=f"{_sentence(study.objective)} by epoch: a line for each trial that finished one, "
        f"{len(histories):,} in all.{best}{beyond}",
        draw=functools.partial(drawing.curves, study, histories),
    )


def _sentence(name):
    """A metric as a sentence begins with it."""
    text = spoken(name)
    return text[:1].upper() + text[1:]


def _failures(study):
    """The `Part` of the trials that failed or were skipped, none where all went well."""
    rows = [row for row in leaderboard.listed(study) if row["status"] in UNSCORED]
    if not rows:
        return []
    listed = [
        (row["number"], row["status"], row["epochs"], figures.cut(row["reason"] or "", LONG)) for row in rows[:LISTED]
    ]
    return [
        figures.Part(
            name="failures",
            title="Failures",
            caption=f"Trials that have no score, with the reason.{_only(rows)} Their logs are in the study's folder.",
            table=figures.Table(("trial", "status", "epochs", "reason"), listed),
        )
    ]


def _trials(study):
    """The `Part` with the leaderboard."""
    rows = leaderboard.listed(study)
    if not rows:
        return []
    names = leaderboard.differing(study)
    listed = [
        (
            row["rank"],
            row["number"],
            row["status"],
            row["score"],
            f"{row['epoch'] or '-'}/{row['epochs']}",
            leaderboard.duration(row["seconds"]).replace(" ", "\N{NO-BREAK SPACE}"),
            *(short(row["fields"][name]) if name in row["fields"] else None for name in names),
        )
        for row in rows[:LISTED]
    ]
    header = ("rank", "trial", "status", spoken(study.objective), "epoch", "time", *names)
    caption = "The best first, then those without a score, with the fields that differ. The epoch is the one of the "
    caption += f"score, of those that were trained.{_only(rows)}"
    return [figures.Part(name="trials", title="Trials", caption=caption, table=figures.Table(header, listed))]


def _only(rows):
    return f" The first {LISTED} of {len(rows):,}." if len(rows) > LISTED else ""
