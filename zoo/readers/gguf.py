"""The tokenizer that a GGUF file holds."""

import pathlib

from zoo.errors import InputError
from zoo.readers.published import Published, tokenizer_of_lists, tokenizer_of_scores
from zoo.weights.gguf import open_gguf

WORDS, PIECES = "tokenizer.ggml.model=gpt2", "tokenizer.ggml.model=llama"
"""What files say of the tokenizers that are read."""


def read_gguf_tokenizer(path: pathlib.Path) -> Published:
    """Returns the tokenizer that a GGUF file holds.

    Raises: as `tokenizer_of_lists` and `tokenizer_of_scores`.
    """
    metadata = open_gguf(path).metadata
    kind = f"tokenizer.ggml.model={metadata.get('tokenizer.ggml.model')}"
    own = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
    tokens, types = own.get("tokens", ()), own.get("token_type", ())
    pieces = kind == PIECES  # of SentencePiece: START and a space stand in front unless the file says otherwise
    common = {
        "start_id": own.get("bos_token_id"),
        "end_id": own.get("eos_token_id"),
        "start": bool(own.get("add_bos_token", pieces)),
        "end": bool(own.get("add_eos_token", False)),
        "space": bool(own.get("add_space_prefix", pieces)),
        "template": metadata.get("tokenizer.chat_template"),
    }
    if pieces:
        return tokenizer_of_scores(path, tokens, own.get("scores", ()), types, **common)
    if kind == WORDS:
        return tokenizer_of_lists(path, tokens, own.get("merges", ()), own.get("pre", "none"), types=types, **common)
    raise InputError(f"{path}: {kind} is not supported. BPE of bytes is, {WORDS}, and of characters, {PIECES}.")
