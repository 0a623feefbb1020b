"""Loads GPT-2 for benchmarks/pretrained.py, with ours or with transformers: python benchmarks/_loading.py zoo FOLDER

It prints JSON: seconds until the model and its tokenizer are there, and those of work of all threads; both until it has
answered once too; and how far the process's peak of memory, in bytes, lies above what it had before. Imports are done
by then. A mapped file counts as far as it was read.
"""

import gc
import json
import pathlib
import sys
import time

import numpy as np

IDS = np.random.default_rng(0).integers(4, 50_000, (1, 64))


def memory(name):
    """Bytes that /proc says of this process: VmRSS is what it has, VmHWM the peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def in_zoo():
    import keras
    import tensorflow as tf

    import zoo
    from zoo import decoding, registry, runs  # noqa: F401

    registry.find("gpt")
    keras.ops.matmul(keras.ops.ones((64, 64)), keras.ops.ones((64, 64)))
    tf.constant(["a"])
    return zoo.load, lambda model: np.asarray(model(IDS, training=False)).sum()


def in_transformers():
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    def load(folder):
        return GPT2LMHeadModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def ask(loaded):
        with torch.no_grad():
            return loaded[0](torch.from_numpy(IDS)).logits.sum().item()

    torch.ones(64, 64) @ torch.ones(64, 64)
    return load, ask


def main(library, folder):
    load, ask = {"zoo": in_zoo, "transformers": in_transformers}[library]()
    gc.collect()
    before = memory("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    start, work = time.perf_counter(), time.process_time()
    model = load(folder)
    loaded = [time.perf_counter() - start, time.process_time() - work]
    ask(model)
    seconds = [*loaded, time.perf_counter() - start, time.process_time() - work]
    print(json.dumps([*seconds, memory("VmHWM") - before]))


if __name__ == "__main__":
    main(*sys.argv[1:])
