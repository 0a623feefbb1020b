"""What a process that did not make a layer answers with it: one helper process of a kind, kept for later questions."""

import atexit
import collections
import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import keras
import numpy as np

SECONDS = 300
"""How long one question may take."""

_helpers = {}


def answers(kind, model, batches, modules=None):
    """The outputs, a list of arrays for each batch, of the model that lies at `model`.

    Args:
        kind: "keras", a process of this backend with Keras, zoo and `modules`; or "saved_model", with TensorFlow only.
        model: a path.
        batches: lists of arrays.
        modules: {name: file} to import first.
    Raises: `RuntimeError` with the helper's traceback, or with what it wrote to its standard error where it died.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        names = range(len(batches))
        for name, batch in zip(names, batches, strict=True):
            np.savez(folder / f"in{name}.npz", *batch)
        job = {
            "model": str(model),
            "modules": modules or {},
            "inputs": [str(folder / f"in{name}.npz") for name in names],
            "outputs": [str(folder / f"out{name}.npz") for name in names],
        }
        start(kind).ask(job)
        found = []
        for name in names:
            with np.load(folder / f"out{name}.npz") as stored:
                found.append([stored[f"arr_{index}"] for index in range(len(stored.files))])
        return found


def start(kind):
    """The helper of a kind. It imports what it needs while its caller goes on."""
    key = kind, keras.backend.backend()
    if key in _helpers and _helpers[key].dead():
        _helpers.pop(key).close()
    if key not in _helpers:
        _helpers[key] = _Helper(kind)
    return _helpers[key]


class _Helper:
    def __init__(self, kind):
        self.kind = kind
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        environment = {
            **os.environ,
            "KERAS_BACKEND": keras.backend.backend(),
            "CUDA_VISIBLE_DEVICES": "-1",  # the GPU's memory is taken
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        # -P: this folder is not on the path; -I: nor is any other of ours
        isolation = "-I" if kind == "saved_model" else "-P"
        script = str(pathlib.Path(__file__).with_name("_answer.py"))
        self.process = subprocess.Popen(
            [sys.executable, isolation, script, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            text=True,
        )
        self.replies = queue.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def dead(self):
        return self.process.poll() is not None

    def ask(self, job):
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            reply = self.replies.get(timeout=SECONDS)
        except queue.Empty:
            self.process.kill()
            raise RuntimeError(f"no answer in {SECONDS} seconds\n{self._tail()}") from None
        except BrokenPipeError:
            reply = None
        if reply is None:
            code = self.process.wait()
            raise RuntimeError(f"the process ended with status {code}\n{self._tail()}")
        if "error" in reply:
            raise RuntimeError(reply["error"])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def _listen(self):
        for line in self.process.stdout:
            self.replies.put(json.loads(line))
        self.replies.put(None)

    def _tail(self):
        self.errors.seek(0)
        return "".join(collections.deque((line.decode(errors="replace") for line in self.errors), maxlen=30))


@atexit.register
def _close():
    for helper in _helpers.values():
        helper.close()
