"""`zoo.export`: from a run or a model to files that are served without any of this package.

An export is written by a TensorFlow process of its own that sees no GPU, whatever backend trained; read back by a
second process that has nothing of ours; compared with the answers that the run stored; and only then put in place. A
checkpoint for another library (`checkpoints`) is written and read back here. The second process loads its libraries
while the first writes; of a run without texts, this process needs no Keras.
"""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo import files, registry, runs, weights
from zoo.data import progress
from zoo.errors import InputError, RunError, check_whole, install_line

if TYPE_CHECKING:
    import keras

    from zoo.base.recipe import Recipe

FORMATS: dict[str, tuple[str, ...]] = {
    "saved_model": (),
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "safetensors": (),
}
"""Format -> the modules of its extra."""


def export(
    what: "str | os.PathLike[str] | runs.Trained | keras.Model",
    directory: str | os.PathLike[str],
    *,
    format: Literal["saved_model", "onnx", "litert", "safetensors"] = "saved_model",
    version: int | None = None,
    labels: Sequence[str] | None = None,
    reader: "keras.layers.Layer | None" = None,
    quiet: bool = True,
    trust: bool = False,
) -> pathlib.Path:
    """Writes a run or a model to `directory`, verified, and returns the folder.

    Args:
        what: a `Run`, its folder, a pretrained source as for `zoo.load`, or a model of `zoo.build` that its owner
            fitted.
        directory: must not exist; with `version`, `directory/version` must not, as TensorFlow Serving reads it.
        format: "saved_model" (raw inputs in, three signatures); "onnx" or "litert" (tensors in; labels.txt and
            preprocess.py, which makes the tensors of raw input, beside);
            "safetensors": a checkpoint that transformers or timm loads, where they have the network.
        version: a whole number of at least 1.
        labels: for a model, the names of its classes; '0' to 'n-1' where there are none.
        reader: for a model of text or tables, what reads its inputs.
        quiet: print nothing.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` for what cannot be exported; `RunError` where the answers differ (then nothing is left).
    """
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}. Received: format={format!r}.")
    missing = [name for name in FORMATS[format] if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"format={format} needs {', '.join(missing)}: {install_line(format)}.")
    if version is not None:
        version = check_whole("version", version, 1)
    target = pathlib.Path(directory) if version is None else pathlib.Path(directory, str(version))
    if target.exists():
        raise InputError(f"{target} exists. Name another folder, or export the next --version.")
    written = target.with_name(f".{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory() as temporary:
        job = pathlib.Path(temporary)
        if isinstance(what, (str, os.PathLike)):
            what = runs.open_trained(what, trust)
        if isinstance(what, runs.Run):
            what = runs.Run.open(what, trust)
        write = (_checkpoint if format == "safetensors" else _served)(job, what, labels, reader, format, written)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with progress.silent(quiet), progress.shown("Exporting and verifying"):
                verdict = write()
            for path in written.rglob("*"):
                if path.is_file():
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())
            os.rename(written, target)
            files.sync(target.parent)
        except BaseException:
            shutil.rmtree(written, ignore_errors=True)
            raise
    if not quiet:
        print(f"{verdict} Exported to {target}")
        if isinstance(what, runs.Run) and what.unlearned:
            print(what.unlearned)
    return target


def _checkpoint(
    job: pathlib.Path, what: Any, labels: Sequence[str] | None, reader: Any, format: str, written: pathlib.Path
) -> Callable[[], str]:
    """What writes a checkpoint to the folder `written`, and returns the verdict."""
    from zoo.serving.checkpoints import Checkpoint

    checkpoint = Checkpoint(what, labels, reader)
    _check_room(written)

    def write() -> str:
        checkpoint.write(written)
        return checkpoint.verify(written)

    return write


def _served(
    job: pathlib.Path, what: Any, labels: Sequence[str] | None, reader: Any, format: str, written: pathlib.Path
) -> Callable[[], str]:
    """What writes another format to the folder `written` by two processes, and returns the verdict."""
    if isinstance(what, (runs.Pretrained, runs.Shipped)):
        what = runs.load(what)
    recipe = getattr(what, "recipe", None) if not isinstance(what, runs.Run) or needs_keras(what, format) else None
    _refuse_texts(recipe, format)
    _check_room(written)
    if isinstance(what, runs.Run):
        _describe_run(job, what, labels, reader)
    else:
        _describe_model(job, what, labels, reader)

    def write() -> str:
        with _started(["-I", _checker(), str(job), format, str(written)]) as verifying:
            with _started(["-m", "zoo.serving._export_worker", str(job), format, str(written)]) as writing:
                _ended("write", writing)
            return _ended("verify", verifying)

    return write


def needs_keras(run: runs.Run, format: str = "saved_model") -> bool:
    """Returns whether the process that exports a run has to load Keras: where texts are answered, or read and stored.

    Raises: `InputError` where the recipe's code is not trusted.
    """
    sketch = run.sketch
    return format == "safetensors" or sketch is None or getattr(sketch, "texts", True)


def _check_room(written: pathlib.Path) -> None:
    """Raises `InputError` where the folder `written` cannot be made; it is tried, and nothing is left of it."""
    made = []
    try:
        for folder in (*reversed(written.parents), written):
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
    except OSError as error:
        raise InputError(f"{written.parent} cannot be written to: {error.strerror}. Name another folder.") from error
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _refuse_texts(recipe: "Recipe | None", format: str) -> None:
    """Raises for a recipe of text in a format without strings and loops."""
    if recipe is not None and recipe.texts and format != "saved_model":
        raise InputError(
            f"format={format} has no text, and {recipe.name} reads and answers with it: export a saved_model."
        )


def _describe_run(job: pathlib.Path, run: runs.Run, labels: Sequence[str] | None, reader: Any) -> None:
    if labels is not None or reader is not None:
        raise InputError("A run has its own labels and reader: leave labels= and reader= out.")
    checkpoint = run.checkpoint("best")
    weights.write(job / "weights.npz", run.weights())
    reader_file = run.path / "reader.keras"
    try:
        shutil.copyfile(reader_file, job / "reader.keras")
    except OSError as error:
        raise InputError(f"{reader_file} is missing, or not a whole .keras file: {error.strerror}.") from error
    weights.write(job / "probe.npz", run.probe())
    answers = weights.read(checkpoint / "answers.npz")
    if needs_keras(run) and run.recipe.texts:
        answers = {**answers, **_written(runs.load(run), run.probe())}
    weights.write(job / "answers.npz", answers)
    recipe = run.facts["recipe"]
    facts = {
        "recipe": recipe,
        "reader": str(reader_file),
        "epoch": int(checkpoint.name),
        "data": run.facts["data"],
        "trained": run.facts["versions"],
    }
    files.write_json(job / "job.json", facts)


def _describe_model(job: pathlib.Path, model: Any, labels: Sequence[str] | None, reader: Any) -> None:
    import keras

    from zoo.training import PROBE, make_answers

    recipe = getattr(model, "recipe", None)
    if recipe is None:
        raise InputError(
            "This model has no recipe. Export a run, or a model of zoo.build; for one that was saved and loaded again: "
            "model.recipe = zoo.recipe(name, ...)."
        )
    saved = registry.saved(recipe)
    if saved["reference"].startswith("__main__:"):
        name = type(recipe).__name__
        raise InputError(f"The recipe {name} was defined in a script or notebook: move it into a .py file.")
    if labels is not None and reader is not None:
        raise InputError("Give labels= or reader=, not both: a reader has labels.")
    if labels is None:
        reader = reader or getattr(model, "reader", None)
    reader = reader or recipe.default_reader(labels)
    probe = recipe.make_probe(reader, recipe.make_noise(PROBE))
    arrays = recipe.merged(weights.of(model))
    try:
        answers = make_answers(recipe, probe)(arrays)
    except RunError as error:
        raise InputError(
            f"The model is no longer its recipe's network ({error}): export it with model.export."
        ) from None
    weights.write(job / "weights.npz", arrays)
    runs.save_reader(reader, job / "reader.keras")
    weights.write(job / "probe.npz", probe)
    weights.write(job / "answers.npz", {"logits": answers, **_written(model, probe, reader)})
    facts = {
        "recipe": saved,
        "trained": {**runs.versions(), "backend": keras.backend.backend()},
    }
    files.write_json(job / "job.json", facts)


def _written(model: Any, probe: Mapping[str, np.ndarray], reader: Any = None) -> dict[str, np.ndarray]:
    """{"text", "score"}: what a model that answers with text says of the raw probe; of others nothing."""
    texts = probe.get("serving_default/text")
    if texts is None:
        return {}
    reader = reader or model.reader
    answers = model.recipe.ask(model, reader.read_texts(texts).numpy())
    found = model.recipe.make_predictions(reader, [""] * len(texts), answers)
    if not hasattr(found[0], "text"):
        return {}
    return {"text": np.array([one.text.encode() for one in found]), "score": np.array([one.score for one in found])}


def _checker() -> str:
    """The script that verifies: run by its path, so that it can import nothing of ours."""
    return str(pathlib.Path(__file__).with_name("_export_check.py"))


@contextlib.contextmanager
def _started(arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A Python process with TensorFlow as its backend and no GPU; it does not outlive the context."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *arguments], env=environment, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def _ended(what: str, process: subprocess.Popen[str]) -> str:
    """The last line that a process of `_started` prints, once it is told to begin; its failure is a `ZooError` with
    the last line of its errors.
    """
    out, err = process.communicate("begin\n")
    if process.returncode:
        lines = [line for line in (err or out).splitlines() if line.strip()] or ["no message"]
        if process.returncode == InputError.exit_status:
            raise InputError(lines[-1])
        full = any("No space left on device" in line for line in lines)
        why = "No space left on device" if full else lines[-1]
        raise RunError(f"The export could not be {'written' if what == 'write' else 'verified'}: {why}")
    return (out.strip().splitlines() or [""])[-1]
