"""Verifies one export in a process that has nothing of ours: `python -I _export_check.py JOB FORMAT FOLDER`.

It loads what the format needs and waits for a line on standard input: then the export is written. It asks the export
for its answers on the probe and compares them with those that were stored in training: logits agree within 1e-4 of the
largest, and labels are equal unless the two best logits differ by less.
"""

import importlib
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-4

NEEDED = {"saved_model": "tensorflow", "onnx": "onnxruntime", "litert": "ai_edge_litert.interpreter"}
"""{format: the module that runs it}."""

UNNEEDED = ("jax", "keras", "matplotlib", "sklearn")
"""What TensorFlow imports where it is installed, and an export runs without."""


def main(job: str, format: str, folder: str) -> None:
    """Compares the export in `folder` with the answers in `job`, and prints the verdict."""
    sys.modules.update(dict.fromkeys(UNNEEDED))  # None: Python's sign that a module cannot be imported
    importlib.import_module(NEEDED[format])
    if not sys.stdin.readline():
        sys.exit("It was not written.")
    probe = dict(np.load(pathlib.Path(job, "probe.npz")))
    expected = dict(np.load(pathlib.Path(job, "answers.npz")))
    named = pathlib.Path(folder, "labels.txt")
    labels = named.read_text(encoding="utf-8").splitlines() if named.exists() else []
    asked = {}
    for key, inputs in probe.items():
        signature, name = key.split("/")
        if format == "saved_model" or signature == "serve_tensors":
            asked.setdefault(signature, {})[name] = inputs
    worst = max(
        compare(ASK[format](folder, signature, inputs), expected, labels, signature)
        for signature, inputs in asked.items()
    )
    on = f"{', '.join(asked)} on {len(expected['logits'])} examples"
    print(f"Verified {on}: largest difference {worst:.1e} of the largest output.")


def compare(
    answers: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], labels: Sequence[str], signature: str
) -> float:
    """Returns the largest difference of logits, as a part of the largest; beyond the tolerance the process ends."""
    if "text" in answers:
        return compare_texts(answers, expected, signature)
    known = expected["logits"]
    logits = np.asarray(next(answers[name] for name in ("logits", "scaled", "embedding") if name in answers))
    if logits.shape != known.shape or not np.isfinite(logits).all():
        sys.exit(f"{signature} answers {logits.shape}, not {known.shape} finite numbers.")
    scale = max(1e-6, float(np.abs(known).max()))
    worst = float(np.abs(logits - known).max()) / scale
    if worst > TOLERANCE:
        sys.exit(f"{signature} is off by {worst:.1e} of the largest output; {TOLERANCE:.0e} is allowed.")
    if not labels:
        return worst
    ranked = np.sort(known, axis=-1)
    clear = ranked[..., -1] - ranked[..., -2] > TOLERANCE * scale
    ours = np.array(labels)[known.argmax(-1)]
    theirs = answers["label"] if "label" in answers else np.array(labels)[answers.get("mask", logits.argmax(-1))]
    if (ours != theirs)[clear].any():
        sys.exit(f"{signature} answers other labels than the trained network.")
    return worst


def compare_texts(answers: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], signature: str) -> float:
    """Returns the largest difference of scores, as a part of the largest; another text must have the same score."""
    ours, theirs = expected["score"], np.asarray(answers["score"])
    scale = max(1.0, float(np.abs(ours).max()))
    worst = float(np.abs(theirs - ours).max()) / scale
    if not worst <= TOLERANCE:
        other = [one.decode() for one in answers["text"][np.abs(theirs - ours) > TOLERANCE * scale][:1]]
        sys.exit(f"{signature} gives other answers than the trained network, such as {other}.")
    return worst


def ask_saved_model(folder: str, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns {output: array} of a SavedModel."""
    import tensorflow as tf

    function = tf.saved_model.load(folder).signatures[signature]
    tensors = {}
    for name, spec in function.structured_input_signature[1].items():
        given = inputs[name]
        tensors[name] = tf.constant(list(given)) if spec.dtype == tf.string else tf.cast(given, spec.dtype)
    answers = {key: value.numpy() for key, value in function(**tensors).items()}
    if "label" in answers:
        answers["label"] = np.array([label.decode() for label in answers["label"]])
    return answers


def ask_onnx(folder: str, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns {output: array} of `model.onnx`."""
    import onnxruntime

    (values,) = inputs.values()

    session = onnxruntime.InferenceSession(str(pathlib.Path(folder, "model.onnx")), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    found = session.run(outputs, {session.get_inputs()[0].name: values.astype("float32")})
    return dict(zip(outputs, found, strict=True))


def ask_litert(folder: str, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns {output: array} of `model.tflite`."""
    from ai_edge_litert.interpreter import Interpreter

    (values,) = inputs.values()

    interpreter = Interpreter(model_path=str(pathlib.Path(folder, "model.tflite")))
    details = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(details["index"], values.shape)
    runner = interpreter.get_signature_runner()
    return runner(**{next(iter(runner.get_input_details())): values.astype("float32")})


ASK = {"saved_model": ask_saved_model, "onnx": ask_onnx, "litert": ask_litert}

if __name__ == "__main__":
    main(*sys.argv[1:])
