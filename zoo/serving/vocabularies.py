"""Vocabularies as files of tokenizers: those of a checkpoint go along, and those that were learned here are written."""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import runs
from zoo.data.tokens import END, PADDING, START
from zoo.errors import InputError
from zoo.readers import own_json
from zoo.readers.published import READ, WHOLE
from zoo.readers.texts import TextReader
from zoo.readers.tokenizer import KINDS
from zoo.weights import hub

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

CONFIG = "tokenizer_config.json"
PLAIN = "PreTrainedTokenizerFast"
"""The class of transformers that does what a tokenizer.json says, and nothing else."""

KNOWN_BETTER = ("qwen2",)
"""Those `model_type` of which AutoTokenizer has another class, whatever a checkpoint says."""

EMBEDDING = "embedding/embeddings"


@dataclasses.dataclass
class Words:
    """A vocabulary as another library has it.

    Attributes:
        rows: its row for each of our ids; -1 for ids that it does not have.
        files: {name: content} of its tokenizer, bytes or what becomes JSON.
        apart: the row of a start that no network of ours writes; None where there is none, or where it is the end.
    """

    rows: list[int]
    files: dict[str, Any]
    apart: int | None = None

    def note(self, config: Mapping[str, Any]) -> str:
        """Returns what is to be said of loading it beside such a config.json; empty where AutoTokenizer does."""
        settings = self.files.get(CONFIG)
        plain = isinstance(settings, dict) and settings.get("tokenizer_class") == PLAIN
        if not plain or config.get("model_type") not in KNOWN_BETTER:
            return ""
        return f"Load its tokenizer with transformers.{PLAIN}: AutoTokenizer takes another one for this architecture."

    def config(self) -> dict[str, Any]:
        """Returns what config.json says of it."""
        ids = {"bos": self.rows[START], "eos": self.rows[END], "pad": self.rows[PADDING]}
        named = {f"{name}_token_id": None if row < 0 else row for name, row in ids.items()}
        return {"vocab_size": max(self.rows) + 1, **named}

    def generation(self) -> dict[str, Any]:
        """Returns what generation_config.json says of it: the ids of tokens, and rows that are never written."""
        never = set(range(max(self.rows) + 1)) - (set(self.rows) - {self.apart})
        named = {name: row for name, row in self.config().items() if name != "vocab_size" and row is not None}
        return {**named, **({"suppress_tokens": sorted(never)} if never else {})}


def words_of(recipe: "Recipe", reader: TextReader, source: str | None, arrays: Mapping[str, np.ndarray]) -> Words:
    """Returns the vocabulary of a reader.

    Args:
        recipe: of the network.
        source: the checkpoint that the weights are of; None where the recipe's `init_from` leads to it.
        arrays: {path: value} of the weights.
    Raises: `InputError` where no tokenizer file can say what the reader does, and for a checkpoint's tokenizer that is
        not there any more.
    """
    if reader.tokenizer.kind in KINDS:
        return _own(recipe, reader)
    return _published(recipe, reader, source, arrays)


def _own(recipe: "Recipe", reader: TextReader) -> Words:
    tokenizer = reader.tokenizer
    try:
        whole = own_json.written(tokenizer, reader.start, reader.end)
    except InputError as error:
        raise InputError(f"{recipe.label} cannot be written for another library: {error}.") from None
    padding, start, end, unknown = own_json.names_of(tokenizer)
    settings = {
        "tokenizer_class": PLAIN,
        "pad_token": padding,
        "bos_token": start,
        "eos_token": end,
        "unk_token": unknown,
        "mask_token": unknown if "masked" in recipe.fields() else None,
        "model_max_length": reader.length,
        "model_input_names": ["input_ids", "attention_mask"],  # type ids mean other things to other networks
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # a text that holds "<end>" is text
    }
    return Words(list(range(recipe.vocabulary)), {WHOLE: whole, CONFIG: settings})


def _published(recipe: "Recipe", reader: TextReader, source: str | None, arrays: Mapping[str, np.ndarray]) -> Words:
    located = _home(recipe, source)
    if located.home.is_file():
        raise InputError(f"{located.source} has its tokenizer inside, and no tokenizer.json is written of one.")
    published = recipe.read_tokenizer(located.home)
    if _settings(published.tokenizer) != _settings(reader.tokenizer):
        raise InputError(f"{located.source} has another tokenizer than the one that {recipe.label} was trained with.")
    folder = located.home
    found = {name: (folder / name).read_bytes() for name in READ if name != "config.json" and (folder / name).is_file()}
    rows, names, apart = list(published.rows), dict(published.names), None
    theirs = recipe.pretrained_reader(published, reader.labels or None)
    table = arrays.get(EMBEDDING)
    trained = rows[START] == rows[END] and table is not None and not np.array_equal(table[START], table[END])
    other = (theirs.start, theirs.end) != (reader.start, reader.end)
    if trained or other:
        if WHOLE not in found:
            raise InputError(f"{recipe.label} reads texts differently from {located.source}, which has no {WHOLE}.")
        whole, settings = json.loads(found[WHOLE]), json.loads(found.get(CONFIG, b"{}"))
        if trained:
            rows[START] = apart = max(rows) + 1
            names["start"] = _added(whole, apart)
            settings["bos_token"] = names["start"]
            found.pop("special_tokens_map.json", None)
        ids = {names.get("start"): rows[START], names.get("end"): rows[END]}
        start, end = names["start"] if reader.start else None, names["end"] if reader.end else None
        whole["post_processor"] = own_json.framing(start, end, ids)
        settings |= {"add_bos_token": reader.start, "add_eos_token": reader.end, "tokenizer_class": PLAIN}
        found |= {WHOLE: whole, CONFIG: settings}
    if theirs.before != reader.before or theirs.around != reader.around:  # training had no chat template
        found.pop("chat_template.jinja", None)
        settings = found.get(CONFIG, b"{}")
        settings = json.loads(settings) if isinstance(settings, bytes) else settings
        found[CONFIG] = {name: value for name, value in settings.items() if name != "chat_template"}
    return Words(rows, found, apart)


def _home(recipe: "Recipe", source: str | None) -> hub.Located:
    """Where the checkpoint lies that a tokenizer comes from."""
    source = source or recipe.init_from
    while source is not None and not hub.is_pretrained(source):
        source = runs.Run.open(source).recipe.init_from
    if source is None:
        raise InputError(f"{recipe.label} has the tokenizer of a checkpoint, and does not say of which.")
    try:
        return hub.locate(source)
    except InputError as error:
        raise InputError(f"{recipe.label} has the tokenizer of {source}, which must still be there: {error}") from None


def _settings(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does, without the name of its layer."""
    return {name: value for name, value in tokenizer.get_config().items() if name != "name"}


def _added(whole: dict[str, Any], row: int) -> str:
    """The token for a start of its own, which a tokenizer.json then has at `row`."""
    name, taken = "<|start|>", {*whole["model"]["vocab"], *(one["content"] for one in whole["added_tokens"])}
    while name in taken:
        name = f"_{name}"
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    whole["added_tokens"] = [*whole["added_tokens"], {"id": row, "content": name, **flags}]
    return name
