"""A study in TensorBoard: its HParams page shows the trials as a table, parallel coordinates and scatter plots."""

import os
import pathlib
import shutil
import time

from zoo.errors import RunError
from zoo.fields import show
from zoo.tuning.report.snapshot import Source
from zoo.tuning.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, SKIPPED

_STATUSES = {
    RUNNING: "STATUS_RUNNING",
    PAUSED: "STATUS_UNKNOWN",
    COMPLETED: "STATUS_SUCCESS",
    PRUNED: "STATUS_SUCCESS",
    FAILED: "STATUS_FAILURE",
    SKIPPED: "STATUS_FAILURE",
}


def write_events(study: Source) -> pathlib.Path:
    """Writes the folder `events` of a study anew and returns its path. Each trial is a folder in it.

    It has the fields, and the score at its epoch under the name of the objective; the curves are in the runs' own
    events. No device is used, so trials may train meanwhile.
    """
    target = study.path / "events"
    new = target.with_name(f".events.{os.getpid()}")
    trials = study.trials
    mixed = _mixed(trials)
    try:
        new.mkdir()
        for trial in trials:
            values = {name: show(value) if name in mixed else value for name, value in trial.values.items()}
            _write(new / f"{trial.number:04d}", trial, values, study.objective)
        target.mkdir(exist_ok=True)
        for folder in new.iterdir():
            _clear(target / folder.name)
            for file in folder.iterdir():
                os.rename(file, target / folder.name / file.name)
    except OSError as error:
        raise RunError(f"{target} could not be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target


def _clear(folder):
    """Makes a folder, or removes the events in one that is there; trials are never removed, so none is left over."""
    folder.mkdir(exist_ok=True)
    for file in folder.glob("events.out.tfevents.*"):
        file.unlink()


def _mixed(trials):
    """The names of fields that must be text: HParams knows numbers, booleans and text, and one kind for a field."""
    kinds = {}
    for trial in trials:
        for name, value in trial.values.items():
            kind = bool if isinstance(value, bool) else float if isinstance(value, int | float) else str
            kinds.setdefault(name, set()).add(kind)
    return {name for name, found in kinds.items() if found not in ({bool}, {float})}


def _write(folder, trial, values, objective):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api, api_pb2, summary
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    started = trial.started or time.time()
    ended = trial.ended or started
    status = api_pb2.Status.Value(_STATUSES[trial.status])
    found = [(api.hparams_pb(values, trial_id=str(trial.number), start_time_secs=started), 0, started)]
    if trial.score is not None:
        found.append((scalar_pb(objective, trial.score), trial.epoch or 0, ended))
    if trial.status not in (PAUSED, RUNNING):
        found.append((summary.session_end_pb(status, end_time_secs=ended), 0, ended))
    writer = EventFileWriter(str(folder))
    for pb, step, moment in found:
        same = Summary.FromString(pb.SerializeToString())  # some of them are TensorFlow's copies of the class
        writer.add_event(Event(summary=same, step=step, wall_time=moment))
    writer.close()
