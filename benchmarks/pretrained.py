"""Published networks beside transformers: loading GPT-2, and a step and a token of a Llama of SmolLM2's size.

    pip install transformers && KERAS_BACKEND=tensorflow python benchmarks/pretrained.py

Loading: GPT-2 (124M parameters) from safetensors with drawn weights and a vocabulary of 50,257 tokens. Each round is a
fresh process for each, imports not counted; the file is in the page cache. transformers maps the file, so that nothing
is read before it is used: the time is taken until the model and its tokenizer are there, and until it has answered 64
tokens once too. Memory is the peak above what the process had after its imports.

A step is forward, backward and Adam on 1 x 64 tokens; decoding writes 32 tokens after 8, greedily and with a cache.
Both are float32 on the CPU. transformers runs in a process of its own, in turn with ours, and a ratio is the median
over rounds with its 95 % interval; below 1, ours is quicker. For slow or busy machines: `--layers 6` is a smaller
network, `--threads 1` gives each library one thread (PyTorch's wait for each other), and `--xla 0` leaves XLA out.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
from _pairs import paired, run, show
from _torch_networks import Worker
from sequences import Endless, asker, trainer
from vision import modes

import zoo
from zoo import decoding

PEERS = ("eager",)
STEPS = 4
WRITES = 32


def gpt2(folder, layers=12, width=768, vocabulary=50_257):
    """Writes a checkpoint of GPT-2 with drawn weights, and a tokenizer of as many merges."""
    import tokenizers
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.standard_normal(shape, "float32") * np.float32(0.02)

    def dense(name, before, after):
        return {f"{name}.weight": drawn(before, after), f"{name}.bias": drawn(after)}

    def norm(name):
        return {f"{name}.weight": 1 + drawn(width), f"{name}.bias": drawn(width)}

    tensors = {"wte.weight": drawn(vocabulary, width), "wpe.weight": drawn(1024, width), **norm("ln_f")}
    for number in range(layers):
        tensors |= norm(f"h.{number}.ln_1") | norm(f"h.{number}.ln_2")
        tensors |= dense(f"h.{number}.attn.c_attn", width, 3 * width) | dense(f"h.{number}.attn.c_proj", width, width)
        tensors |= dense(f"h.{number}.mlp.c_fc", width, 4 * width) | dense(f"h.{number}.mlp.c_proj", 4 * width, width)
    tensors = {f"transformer.{name}": one for name, one in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": layers, "n_head": width // 64}
    config |= {"n_embd": width, "n_positions": 1024, "vocab_size": vocabulary, "activation_function": "gelu_new"}
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 50_256, "eos_token_id": 50_256}))
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = [(first, second) for first in letters for second in letters][: vocabulary - len(letters) - 1]
    tokens = [*letters, *map("".join, merges), "<|endoftext|>"]
    made = tokenizers.Tokenizer(tokenizers.models.BPE({token: row for row, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**said, "unk_token": "<|endoftext|>"}))
    return (folder / "model.safetensors").stat().st_size


def loading(options):
    script = str(pathlib.Path(__file__).with_name("_loading.py"))
    found = {"zoo": [], "transformers": []}
    with tempfile.TemporaryDirectory() as folder:
        size = gpt2(pathlib.Path(folder))
        for turn in range(max(3, options.rounds // 4)):
            for library in list(found)[:: 1 if turn % 2 else -1]:
                done = subprocess.run([sys.executable, script, library, folder], capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(done.stderr)
                found[library].append(json.loads(done.stdout.splitlines()[-1]))
    ours, theirs = (np.array(found[library]) for library in found)
    for place, name in enumerate(("loaded", "loaded, CPU time", "asked once too", "asked once too, CPU time")):
        ratio = np.median(ours[:, place] / theirs[:, place])
        seconds = f"{np.median(ours[:, place]):.2f} s / {np.median(theirs[:, place]):.2f} s"
        print(f"{f'GPT-2 124M, {name}':<48}{ratio:>7.3f}   {seconds}", flush=True)
    peaks = (f"{np.median(one[:, 4]) / size:.2f}" for one in (ours, theirs))
    print(f"{'GPT-2 124M, peak of memory over the file':<48}{'':>7}   {' / '.join(peaks)}   ({size / 1e6:.0f} MB)")


def ways(options):
    """{name of a way in which this backend runs: jit_compile}; both libraries take `options.threads`, 0 for theirs."""
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # PyTorch's, in the processes that are started
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(options.threads)
            tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    return {name: jit for name, jit in modes().items() if options.xla or not jit}


def make_llama(layers):
    return zoo.build("llama/smollm2-135m", depth=layers)


def beside(name, ours, what, count, options):
    for peer in options.peers:
        script = str(pathlib.Path(__file__).with_name("_torch_llama.py"))
        worker = Worker(f"{what}:{options.layers}", peer, script)
        show(f"{name}, to {peer}", paired(ours, functools.partial(worker, count), rounds=options.rounds))
        worker.close()


def step(options):
    ids = np.random.default_rng(0).integers(4, 49_152, (1, 65)).astype("int32")
    for mode, jit in ways(options).items():
        ours = trainer(make_llama(options.layers), (ids[:, :-1], ids[:, 1:]), jit)
        beside(f"llama, {options.layers} layers, {STEPS} steps, {mode}", ours, "step", STEPS, options)


def token(options):
    prompt = np.random.default_rng(0).integers(4, 49_152, (1, 8)).astype("int32")
    for mode, jit in ways(options).items():
        model = make_llama(options.layers)
        decoder = Endless(model.recipe.make_decoder(model))
        ours = asker(model, decoder, decoding.Search(WRITES), prompt, jit)
        beside(f"llama, {options.layers} layers, {WRITES} tokens, {mode}", ours, "decode", 1, options)


PARTS = {"loading": loading, "step": step, "token": token}

if __name__ == "__main__":
    run(__doc__, PARTS, PEERS, f"on {keras.backend.backend()}, to transformers", layers=30, threads=0, xla=1)
