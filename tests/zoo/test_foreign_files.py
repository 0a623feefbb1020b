"""What the zoo did not write, it neither removes, renames nor overwrites."""

import shutil
import types

import pytest

import zoo
from zoo import runs
from zoo.figures import pages
from zoo.runs.run import KIND
from zoo.tuning.ledger import Ledger
from zoo.tuning.report.tensorboard import write_events


def contents(folder):
    """{relative path: bytes} of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
    return contents(folder)


FOREIGN = [
    (".bashrc", ".env"),
    (".git/HEAD",),
    ("reader.keras",),
    ("probe.npz", "checkpoints/000001/weights.npz"),
    (".probe.npz.123",),
    ("run.lock",),
    ("run.lock", "run.lock.txt"),
    ("study.sqlite", "data/train_x.npy"),
    ("study.lock",),
]


@pytest.mark.parametrize("names", FOREIGN, ids=" ".join)
def test_a_folder_with_files_of_others_is_refused_and_left_as_it_was(tmp_path, names):
    before = fill(tmp_path, *names)
    with pytest.raises(zoo.InputError, match="exists and is not a run"):
        zoo.train("lenet", epochs=1, directory=tmp_path, quiet=True)
    assert contents(tmp_path) == before
    with pytest.raises(zoo.InputError, match="exists and is not a study"):
        Ledger.make(tmp_path, None)
    assert contents(tmp_path) == before


def test_what_a_killed_beginning_left_is_known_by_its_exact_names(tmp_path):
    assert KIND.only_begun(tmp_path)
    (tmp_path / "run.lock").write_text("123")
    (tmp_path / "checkpoints").mkdir()
    for name in ("reader.keras", ".reader.keras.123", "probe.npz", ".run.json.123"):
        (tmp_path / name).write_bytes(b"half")
    assert KIND.only_begun(tmp_path)
    for name in (".reader.keras.bak", ".x.reader.keras", "reader.keras.123", "checkpoints/notes"):
        (tmp_path / name).write_bytes(b"mine")
        assert not KIND.only_begun(tmp_path), name
        (tmp_path / name).unlink()


def test_notes_among_the_checkpoints_stay(tmp_path):
    run, folder = runs.Run(tmp_path, {}), tmp_path / "checkpoints"
    mine = fill(tmp_path, "checkpoints/notes.txt", "checkpoints/.hidden", "checkpoints/000002-good/weights.npz")
    state = {"history": [{"epoch": 1}]}
    for epoch in range(1, 5):
        run.save_checkpoint(epoch, {}, state, best=1)
        shutil.copytree(
            tmp_path / "checkpoints" / "000001", tmp_path / "checkpoints" / "000009 copy", dirs_exist_ok=True
        )
        assert run.checkpoint().name == f"{epoch:06d}"  # a whole copy of a checkpoint is none of the run's
    shutil.rmtree(folder / "000009 copy")
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"000001", "000003", "000004", "notes.txt", ".hidden", "000002-good"}
    runs.drop_checkpoints(tmp_path)
    assert {name: text for name, text in contents(tmp_path).items() if "checkpoints" in name} == mine


@pytest.mark.parametrize("page", ["", '<meta name="pictures" content="curves.png masks.png">'])
def test_a_picture_of_ones_own_beside_a_report_is_not_replaced(tmp_path, page):
    target = tmp_path / "report"
    fill(target, "curves.png")
    (target / "index.html").write_text(pages.MARK + page)
    pages.refuse_foreign(target)
    before = fill(target, "holiday.png" if page else "holiday.jpg")
    with pytest.raises(zoo.InputError, match="something other than a report"):
        pages.refuse_foreign(target)
    assert contents(target) == before


def test_events_of_ones_own_beside_those_of_a_study_stay(tmp_path):
    study = types.SimpleNamespace(path=tmp_path, trials=[], objective="val_loss")
    mine = fill(tmp_path, "events/mine/events.out.tfevents.1", "events/notes.txt")
    write_events(study)
    assert contents(tmp_path) == mine
