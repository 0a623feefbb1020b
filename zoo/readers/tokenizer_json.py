"""What a tokenizer.json of the library `tokenizers` says, as far as it is supported."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.errors import InputError
from zoo.readers.byte_pairs import PATTERNS, alphabet
from zoo.readers.character_pairs import BYTES, SPACE
from zoo.readers.own_json import read_own
from zoo.readers.word_pieces import CONTINUED, LONGEST_WORD

SPLITS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    rf"{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": name
    for digits, name in ((r"\p{N}{1,3}", "llama3"), (r"\p{N}", "qwen2"))
}
"""{expression in tokenizer.json: name in `PATTERNS`}."""


MARKUP = re.compile(r"</?\|?\w+\|?>")
"""Of added tokens that are not special, those which are read: no text has them but what is made for the network, such
as "<tool_call>" or "<|fim_prefix|>". In a text they are text, as special ones are."""


def is_markup(token: str) -> bool:
    """Returns whether an added token is read that is not special."""
    return MARKUP.fullmatch(token) is not None


def read_draft(found: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `published.Draft` takes.

    Args:
        found: a tokenizer.json.
        config: the tokenizer_config.json beside it, or nothing.
    Raises: `InputError` for what is not supported, and what reading a damaged file raises.
    """
    model = found["model"]
    own = read_own(found)
    if own is not None:
        start, end = _framing(found.get("post_processor"))
        roles = {"start": start, "end": end, "unknown": own["unknown"]}
        roles = {role: token for role, token in roles.items() if token is not None}
        frames = {"start": start is not None, "end": end is not None}
        return {**own, **frames, "specials": [], "roles": roles, "unknown": True}
    kind = model.get("type") or ("BPE" if "merges" in model else "none")
    if kind not in ("BPE", "WordPiece"):
        raise unsupported(f"a model of the type {kind}", ("BPE", "WordPiece"))
    rows = dict(model["vocab"])
    specials = []
    for one in found.get("added_tokens") or ():
        if rows.setdefault(one["content"], one["id"]) != one["id"]:
            raise InputError(f"the token {one['content']!r} has two ids.")
        if not one["special"] and not is_markup(one["content"]):
            raise unsupported(f"the added token {one['content']!r}, which is neither special nor markup")
        for name in ("lstrip", "rstrip", "single_word"):
            if one.get(name):
                raise unsupported(f"{name} of the added token {one['content']!r}")
        specials.append(one["content"])
    start, end = _framing(found.get("post_processor"))
    roles = {role: token for role, token in (("start", start), ("end", end)) if token is not None}
    common = {"rows": rows, "specials": specials, "roles": roles}
    if kind == "WordPiece":
        own = _word_pieces(found, model, config)
        roles["unknown"] = model["unk_token"]
        return {**common, "kind": "wordpiece", "start": start is not None, "end": end is not None, **own}
    own = _character_pairs(found, model) if model.get("byte_fallback") else _byte_pairs(found, model, rows)
    if own.get("unknown"):
        roles["unknown"] = model["unk_token"]
    frames = [start is not None, end is not None]
    if found.get("post_processor") is None or found["post_processor"]["type"] == "ByteLevel":
        frames = [config.get(f"add_{name}_token") is True for name in ("bos", "eos")]
    return {**common, "start": frames[0], "end": frames[1], **own}


def _word_pieces(found: Mapping[str, Any], model: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    normalizer = found["normalizer"] or {"type": "none"}
    if normalizer["type"] != "BertNormalizer":
        raise unsupported(f"the normalizer {normalizer['type']}", ["BertNormalizer"])
    lower = normalizer["lowercase"]
    if normalizer.get("strip_accents") not in (None, lower):
        raise unsupported(f"lowercase={lower} with strip_accents={normalizer['strip_accents']}")
    if config.get("do_lower_case", lower) != lower:
        raise InputError(f"tokenizer_config.json has do_lower_case={config['do_lower_case']}, which contradicts it.")
    for part, name, only in (
        (normalizer, "clean_text", True),
        (normalizer, "handle_chinese_chars", True),
        (model, "continuing_subword_prefix", CONTINUED),
        (model, "max_input_chars_per_word", LONGEST_WORD),
        (found["pre_tokenizer"] or {"type": None}, "type", "BertPreTokenizer"),
    ):
        if part[name] != only:
            raise unsupported(f"{name}={part[name]}", [str(only)])
    return {"lower": bool(lower)}


def _byte_pairs(found: Mapping[str, Any], model: Mapping[str, Any], rows: Mapping[str, int]) -> dict[str, Any]:
    composed = found.get("normalizer") is not None
    if composed and found["normalizer"] != {"type": "NFC"}:
        raise unsupported(f"the normalizer {found['normalizer']['type']}", ["NFC"])
    merges = _merges(model)
    unknown = model.get("unk_token") is not None and not set(alphabet()) <= set(rows)
    if unknown and model.get("fuse_unk"):
        raise unsupported("fuse_unk=True")
    whole = model.get("ignore_merges") or False
    pattern = _pattern(found["pre_tokenizer"])
    return {"kind": "bpe", "merges": merges, "pattern": pattern, "whole": whole, "unknown": unknown,
            "composed": composed}  # fmt: skip


def _merges(model: Mapping[str, Any]) -> tuple[str, ...]:
    """The merges of a model, which does nothing else to words."""
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise unsupported(f"{name}={model[name]}")
    return tuple(one if isinstance(one, str) else " ".join(one) for one in model["merges"])


_PREPENDED = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ],
}
_METASPACE = {"type": "Metaspace", "replacement": SPACE, "split": False}
_DECODED = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}  # fmt: skip


def _character_pairs(found: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    merges = _merges(model)
    if model.get("ignore_merges"):
        raise unsupported("ignore_merges=True with byte_fallback=True")
    normalizer, cut = found.get("normalizer"), found.get("pre_tokenizer")
    metaspace = [{**_METASPACE, "prepend_scheme": when} for when in ("first", "always")]
    if normalizer == _PREPENDED and cut is None:
        pattern = "always"
    elif normalizer is None and cut in metaspace:
        pattern = "missing"
    else:
        raise unsupported(
            f"byte_fallback=True with the normalizer {json.dumps(normalizer)[:120]} and the pre_tokenizer "
            f"{json.dumps(cut)[:120]}"
        )
    if found.get("decoder") != _DECODED:
        raise unsupported(f"byte_fallback=True with the decoder {json.dumps(found.get('decoder'))[:120]}")
    lacking = [one for one in BYTES if one not in model["vocab"]]
    if lacking:
        raise unsupported(f"byte_fallback=True without the token {lacking[0]}")
    return {"kind": "character_bpe", "merges": merges, "pattern": pattern}


def _pattern(cut: Mapping[str, Any] | None) -> str:
    """The name in `PATTERNS` of how a text is cut into words."""
    steps = (cut or {"type": "none"}).get("pretokenizers", [cut])
    levels = [one for one in steps if one is not None and one["type"] == "ByteLevel"]
    if len(levels) == 1 and steps[-1] is levels[0]:
        level, before = levels[0], steps[:-1]
        if level["add_prefix_space"]:
            raise unsupported("a space in front of texts")
        if level.get("use_regex", True) and not before:
            return "gpt2"
        if level.get("use_regex", True) and before == [{"type": "Digits", "individual_digits": True}]:
            return "smollm2"
        if not level.get("use_regex", True) and len(before) == 1 and before[0]["type"] == "Split":
            regex = before[0]["pattern"].get("Regex")
            if regex in SPLITS and before[0]["behavior"] == "Isolated" and not before[0]["invert"]:
                return SPLITS[regex]
    raise unsupported(f"the pre_tokenizer {json.dumps(cut)[:120]}", [f"those of {', '.join(PATTERNS)}"])


def _framing(after: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """(the token that is put in front of a text, the one behind it), None where there is none."""
    if after is None or after["type"] == "ByteLevel":
        return None, None
    if after["type"] == "Sequence":
        parts = [one for one in after["processors"] if one["type"] != "ByteLevel"]
        if len(parts) <= 1:
            return _framing(parts[0] if parts else None)
    if after["type"] in ("BertProcessing", "RobertaProcessing"):
        return after["cls"][0], after["sep"][0]
    if after["type"] == "TemplateProcessing":
        pieces = [one["SpecialToken"]["id"] if "SpecialToken" in one else None for one in after["single"]]
        place = pieces.index(None)
        front, back = pieces[:place], pieces[place + 1 :]
        if len(front) < 2 and len(back) < 2 and None not in back:
            return (front or [None])[0], (back or [None])[0]
    raise unsupported(f"the post_processor {json.dumps(after)[:120]}")


def unsupported(what: str, known: Iterable[str] = ()) -> InputError:
    listed = f" Supported: {', '.join(known)}." if known else ""
    return InputError(f"the tokenizer has {what}, which is not supported.{listed}")
