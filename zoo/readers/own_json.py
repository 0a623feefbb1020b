"""Vocabularies that were learned here as a tokenizer.json of the library `tokenizers`, and read from one again.

Ids are ours: padding, START, END and UNKNOWN are tokens of the file, at 0 to 3.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.data.tokens import SPECIAL, UNKNOWN
from zoo.errors import InputError
from zoo.readers.byte_pairs import alphabet
from zoo.readers.tokenizer import KINDS, Tokenizer

NAMES = ("<pad>", "<start>", "<end>", "<unk>")
"""What the ids 0 to 3 are called, with underscores where a vocabulary has that token."""

RULED_OUT = -1e6
"""The score of a special token among subwords: no text is cut into it."""

_TEXT = {"type": "Prepend", "prepend": " "}
_FUSED = {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def written(tokenizer: Tokenizer, start: bool, end: bool) -> dict[str, Any]:
    """Returns the tokenizer.json of a tokenizer of `KINDS`, which cuts every text as it does.

    Args:
        start, end: whether START stands in front of a text, and END behind it.
    Raises: `InputError` for subwords that have no piece for one of their characters.
    """
    names = names_of(tokenizer)
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **added} for number, name in enumerate(names)],
        "post_processor": framing(names[1] if start else None, names[2] if end else None, {names[1]: 1, names[2]: 2}),
        **_parts(tokenizer.kind, names, tokenizer.tokens, tokenizer.scores),
    }


def names_of(tokenizer: Tokenizer) -> list[str]:
    """Returns the tokens of the ids 0 to 3."""
    taken, found = set(tokenizer.tokens), []
    for name in NAMES:
        while name in taken:
            name = f"_{name}"
        found.append(name)
    return found


def framing(start: str | None, end: str | None, ids: Mapping[str, int]) -> dict[str, Any] | None:
    """Returns the post_processor that puts tokens around a text, whose `ids` are {token: id}; None without any."""
    around = [one for one in (start, end) if one is not None]
    if not around:
        return None

    def token(name: str | None, part: int) -> list[dict[str, Any]]:
        return [] if name is None else [{"SpecialToken": {"id": name, "type_id": part}}]

    def text(letter: str, part: int) -> list[dict[str, Any]]:
        return [{"Sequence": {"id": letter, "type_id": part}}]

    single = [*token(start, 0), *text("A", 0), *token(end, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *text("B", 1), *token(end, 1)],
        "special_tokens": {one: {"id": one, "ids": [ids[one]], "tokens": [one]} for one in dict.fromkeys(around)},
    }


def read_own(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns {"kind", "rows", "scores", "unknown"} of a tokenizer.json of `written`; None for any other."""
    model = found["model"]
    vocab = model["vocab"]
    if isinstance(vocab, dict) and not all(isinstance(one, int) for one in vocab.values()):
        return None
    pairs = vocab if isinstance(vocab, list) else [[token, 0.0] for token in sorted(vocab, key=vocab.get)]
    tokens = [token for token, _ in pairs]
    for kind in KINDS:
        scores = [score for _, score in pairs[SPECIAL:]] if kind == "subwords" else []
        own = tokens[SPECIAL:] if kind != "bytes" else []
        try:
            parts = _parts(kind, tokens[:SPECIAL], own, scores)
        except InputError:
            continue
        said = {**found, "model": {name: model.get(name) for name in parts["model"]}}  # `tokenizers` adds to it
        if all(said.get(name) == part for name, part in parts.items()):
            rows = {token: number for number, token in enumerate(tokens)}
            of = dict(zip(own, scores, strict=True)) if scores else {}
            return {"kind": kind, "rows": rows, "scores": of, "unknown": tokens[UNKNOWN]}
    return None


def _parts(kind: str, names: Sequence[str], tokens: Iterable[str], scores: Iterable[float]) -> dict[str, Any]:
    """{part of a tokenizer.json: what it says}, of a kind with these tokens."""
    if kind == "bytes":
        letters = {byte: letter for letter, byte in alphabet().items()}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        tokens, model = [letters[byte] for byte in range(256)], {"type": "BPE", "unk_token": None, "merges": []}
        return {
            "normalizer": None,
            "pre_tokenizer": level,
            "decoder": level,
            "model": {**model, "vocab": _numbered(names, tokens)},
        }
    if kind == "subwords":
        pairs = [*([name, RULED_OUT] for name in names), *map(list, zip(tokens, scores, strict=True))]
        model = {"type": "Unigram", "unk_id": UNKNOWN, "byte_fallback": False, "vocab": pairs}
        cuts = [_isolated(" [^ ]*"), _isolated(f"[^{_listed(tokens)}]")]
        cut = {"type": "Sequence", "pretokenizers": cuts}
    else:
        model = {"type": "WordLevel", "unk_token": names[UNKNOWN], "vocab": _numbered(names, tokens)}
        cut = _isolated("(?m:.)" if kind == "characters" else r" ?[\p{L}\p{M}\p{N}_]+| ?[^ \p{L}\p{M}\p{N}_]| ")
    if kind == "characters":
        return {"normalizer": None, "pre_tokenizer": cut, "decoder": {"type": "Fuse"}, "model": model}
    return {"normalizer": _TEXT, "pre_tokenizer": cut, "decoder": _FUSED, "model": model}


def _isolated(expression: str) -> dict[str, Any]:
    """The pre_tokenizer that makes a word of all that an expression matches."""
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def _numbered(names: Sequence[str], tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate((*names, *tokens))}


def _listed(tokens: Iterable[str]) -> str:
    """The characters of subwords, within brackets of an expression: text between others is cut by itself."""
    tokens = set(tokens)
    characters = sorted(set().union(*tokens))
    lacking = [one for one in characters if one not in tokens]
    if lacking:
        raise InputError(f"the subwords have no piece for {lacking[0]!r} alone, which no tokenizer.json can say")
    return "".join(rf"\x{{{ord(one):x}}}" for one in characters)
