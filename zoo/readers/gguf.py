"""The tokenizer that a GGUF file holds."""

import pathlib

from zoo.errors import InputError
from zoo.readers.published import Published, tokenizer_of_lists
from zoo.weights.gguf import open_gguf


def read_gguf_tokenizer(path: pathlib.Path) -> Published:
    """Returns the tokenizer that a GGUF file holds.

    Raises: as `tokenizer_of_lists`.
    """
    metadata = open_gguf(path).metadata
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise InputError(f"{path}: tokenizer.ggml.model={kind} is not supported. gpt2 is: byte-level BPE.")
    own = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
    return tokenizer_of_lists(
        path,
        own.get("tokens", ()),
        own.get("merges", ()),
        own.get("pre", "none"),
        start_id=own.get("bos_token_id"),
        end_id=own.get("eos_token_id"),
        start=bool(own.get("add_bos_token", False)),
        end=bool(own.get("add_eos_token", False)),
        types=own.get("token_type", ()),
        space=bool(own.get("add_space_prefix", False)),
        template=metadata.get("tokenizer.chat_template"),
    )
