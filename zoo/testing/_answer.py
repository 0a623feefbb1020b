"""A process that is asked what a saved layer answers: `python _answer.py keras|saved_model`, by `zoo.testing._fresh`.

`keras` has Keras, zoo and the modules that a job names; `saved_model`, started with `-I`, has TensorFlow and nothing
else. One JSON line in is a job, one out its reply. The process ends when its standard input does.
"""

import importlib
import importlib.util
import json
import os
import queue
import sys
import threading
import traceback

import numpy as np


def main(kind):
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no reply
    jobs = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    ask = {"keras": ask_keras, "saved_model": ask_saved_model}[kind]
    importlib.import_module({"keras": "zoo", "saved_model": "tensorflow"}[kind])
    importlib.import_module({"keras": "keras", "saved_model": "tensorflow"}[kind])
    while True:
        job = jobs.get()
        try:
            answer = ask(job)
            for inputs, outputs in zip(job["inputs"], job["outputs"], strict=True):
                with np.load(inputs) as stored:
                    arrays = answer([stored[f"arr_{index}"] for index in range(len(stored.files))])
                np.savez(
                    outputs, *(array.astype("float32") if array.dtype.name == "bfloat16" else array for array in arrays)
                )
            reply = {}
        except Exception as error:
            while error.__cause__ or error.__context__:  # Keras wraps the reason into whole configs
                error = error.__cause__ or error.__context__
            reply = {"error": "".join(traceback.format_exception(error, chain=False))}
        print(json.dumps(reply), file=replies)


def _read(jobs):
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)  # whoever asked is gone


def ask_keras(job):
    import keras

    for name, file in job["modules"].items():
        _bring(name, file)
    model = keras.saving.load_model(job["model"], compile=False)

    def answer(inputs):
        outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]

    return answer


def _bring(name, file):
    """Imports a module by its name, or from its file where the name leads nowhere (a test, a script)."""
    if name in sys.modules and name != "__main__":
        return
    try:
        if name == "__main__":
            raise ModuleNotFoundError
        importlib.import_module(name)
    except ModuleNotFoundError:
        name = name if name != "__main__" else "__checked__"
        if name in sys.modules:
            return
        spec = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


def ask_saved_model(job):
    import tensorflow as tf

    loaded = tf.saved_model.load(job["model"])

    def answer(inputs):
        tensors = [tf.constant(value) for value in inputs]
        outputs = loaded.serve(tensors if len(tensors) > 1 else tensors[0])
        return [np.asarray(output) for output in tf.nest.flatten(outputs)]

    return answer


if __name__ == "__main__":
    main(sys.argv[1])
