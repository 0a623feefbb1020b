"""Published tokenizers as ours: tokenizer.json, vocab.txt, vocab.json with merges.txt, or the lists of a GGUF file."""

import dataclasses
import functools
import json
import pathlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.errors import InputError
from zoo.readers.byte_pairs import alphabet
from zoo.readers.character_pairs import BYTES
from zoo.readers.tokenizer import Tokenizer
from zoo.readers.tokenizer_json import is_markup, read_draft, unsupported

WHOLE = "tokenizer.json"
LISTS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
VOCABULARY = "vocab.txt"
READ = (WHOLE, VOCABULARY, *(name for pair in LISTS for name in pair), "tokenizer_config.json",
        "special_tokens_map.json", "config.json", "chat_template.jinja")  # fmt: skip
"""Files that say what a published tokenizer does."""

ROLES = {"start": ("cls_token", "bos_token"), "end": ("sep_token", "eos_token"), "padding": ("pad_token",),
         "unknown": ("unk_token",), "mask": ("mask_token",)}  # fmt: skip
"""{what a special token does: what files call it}; where pairs have both of two names, the second counts."""

GGUF = {"gpt-2": {"pattern": "gpt2"}, "smollm": {"pattern": "smollm2"},
        "llama-bpe": {"pattern": "llama3", "whole": True},
        "qwen2": {"pattern": "qwen2", "composed": True}}  # fmt: skip
"""{tokenizer.ggml.pre: what `Draft` takes}."""

TAKES = {"bpe": ("merges", "pattern", "whole", "unknown", "composed"), "character_bpe": ("merges", "pattern"),
         "wordpiece": ("lower",)}  # fmt: skip
"""{kind: what `Tokenizer` takes of a `Draft`}."""

BROKEN = (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError, OSError)
"""What reading a file raises that is not as it should be."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published tokenizer.

    Attributes:
        tokenizer: it as ours.
        rows: for every id of `tokenizer` the one that the checkpoint has for it, and -1 where it has none. A token
            that is the start, the end, the padding or the unknown one has no other id. Byte pairs have nothing
            unknown, unless their vocabulary lacks bytes and has a token for those.
        start, end: whether the checkpoint was trained on texts with START in front and END behind.
        template: the chat template, in Jinja; None without one.
        names: {"start", "end": the token, where there is one}, which templates mention.
    """

    tokenizer: Tokenizer
    rows: tuple[int, ...]
    start: bool
    end: bool
    template: str | None = None
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_tokenizer(folder: pathlib.Path) -> Published:
    """Returns the tokenizer that lies in the folder of a checkpoint.

    Raises: `InputError` where there is none, for one that is damaged, and for one that is not supported.
    """
    found = [path for path in (folder / name for name in READ) if path.is_file()]
    return _read(folder, tuple((path.name, path.stat().st_mtime_ns) for path in found))


@functools.lru_cache(maxsize=8)
def _read(folder: pathlib.Path, files: tuple[tuple[str, int], ...]) -> Published:
    names = [name for name, _ in files]
    main = next((name for name in (WHOLE, VOCABULARY, *(pair[0] for pair in LISTS)) if name in names), None)
    if main is None:
        raise InputError(
            f"{folder} has no tokenizer that the zoo reads. There must be {WHOLE}, {VOCABULARY}, "
            f"or {' or '.join(' and '.join(pair) for pair in LISTS)}."
        )
    read = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json", "config.json"):
        with _Faults(folder / name):
            read[name] = _json(folder / name) if name in names else {}
    given, mapped, config = read.values()
    with _Faults(folder / main):
        if main == WHOLE:
            draft = Draft(**read_draft(_json(folder / main), given))
        elif main == VOCABULARY:
            draft = _of_vocabulary((folder / main).read_text("utf-8").split("\n"), given)
        else:
            draft = _of_lists(folder, main, given)
    with _Faults(folder / "tokenizer_config.json"):
        roles = _named(mapped, draft.kind) | _named(given, draft.kind)
        template = _template(given)
    with _Faults(folder / "chat_template.jinja"):
        template = (folder / "chat_template.jinja").read_text("utf-8") if "chat_template.jinja" in names else template
    with _Faults(folder / main):
        return draft.laid({**_by_number(config, given, draft), **roles, **draft.roles}, template)


def tokenizer_of_lists(
    path: pathlib.Path,
    tokens: Sequence[str],
    merges: Iterable[str],
    pre: str,
    *,
    start_id: int | None = None,
    end_id: int | None = None,
    start: bool = False,
    end: bool = False,
    types: Sequence[int] = (),
    space: bool = False,
    template: str | None = None,
) -> Published:
    """Returns the tokenizer that the metadata of a GGUF file describe.

    Args:
        path: the file, for messages.
        tokens, merges, pre, types: tokenizer.ggml.tokens, .merges, .pre and .token_type.
        start_id, end_id: .bos_token_id and .eos_token_id.
        start, end, space: .add_bos_token, .add_eos_token and .add_space_prefix.
        template: tokenizer.chat_template.
    Raises: `InputError` for what is damaged or not supported.
    """
    with _Faults(path):
        if pre not in GGUF:
            raise unsupported(f"tokenizer.ggml.pre={pre}", GGUF)
        if space:
            raise unsupported("a space in front of texts")
        rows, specials = _rows(tokens, types, (3,))
        roles = {role: tokens[one] for role, one in (("start", start_id), ("end", end_id)) if one is not None}
        draft = Draft("bpe", rows, specials, bool(start), bool(end), {}, merges=tuple(merges), **GGUF[pre])
        return draft.laid(roles, template)


def tokenizer_of_scores(
    path: pathlib.Path,
    tokens: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    start_id: int | None = None,
    end_id: int | None = None,
    start: bool = True,
    end: bool = False,
    space: bool = True,
    template: str | None = None,
) -> Published:
    """Returns the tokenizer that the metadata of a GGUF file describe, of the pieces of SentencePiece.

    Args:
        path: the file, for messages.
        tokens, scores, types: tokenizer.ggml.tokens, .scores and .token_type.
        start_id, end_id: .bos_token_id and .eos_token_id.
        start, end, space: .add_bos_token, .add_eos_token and .add_space_prefix.
        template: tokenizer.chat_template.
    Raises: `InputError` for what is damaged or not supported.
    """
    with _Faults(path):
        if not space:
            raise unsupported("no space in front of texts")
        rows, specials = _rows(tokens, types, (2, 3))
        of = {token: float(score) for token, score in zip(tokens, scores, strict=True)}
        if missing := [one for one in BYTES if one not in rows]:
            raise unsupported(f"no token {missing[0]}")
        roles = {role: tokens[one] for role, one in (("start", start_id), ("end", end_id)) if one is not None}
        draft = Draft("character_bpe", rows, specials, start, end, {}, pattern="always", scores=of)
        return draft.laid(roles, template)


def _rows(tokens: Sequence[str], types: Sequence[int], special: Sequence[int]) -> tuple[dict[str, int], list[str]]:
    """({token: its number}, those of the types `special`) of the lists of a GGUF file."""
    added = [token for token, one in zip(tokens, types, strict=True) if one == 4] if types else []
    if odd := [token for token in added if not is_markup(token)]:
        raise unsupported(f"the added token {odd[0]!r}, which is neither special nor markup")
    if len(set(tokens)) < len(tokens):
        raise InputError("a token has two ids.")
    specials = [token for token, one in zip(tokens, types, strict=True) if one in special] if types else []
    return {token: row for row, token in enumerate(tokens)}, [*specials, *added]


class _Faults:
    """What goes wrong inside is an `InputError` that names the file."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InputError):
            raise InputError(f"{self._path}: {error}") from None
        if isinstance(error, BROKEN):
            raise InputError(f"{self._path} is damaged: {type(error).__name__}.") from None


@dataclasses.dataclass(frozen=True)
class Draft:
    """A tokenizer with the ids of its checkpoint: `rows` of all tokens, and what `Tokenizer` takes."""

    kind: str
    rows: Mapping[str, int]
    specials: Iterable[str]
    start: bool
    end: bool
    roles: Mapping[str, str]
    merges: tuple[str, ...] = ()
    pattern: str = "gpt2"
    whole: bool = False
    unknown: bool = False
    composed: bool = False
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    lower: bool = True

    def laid(self, roles: Mapping[str, str], template: str | None) -> Published:
        """It with the ids of ours: padding, START, END, UNKNOWN, and all others in their order."""
        of = {role: self.rows[token] for role, token in roles.items() if token in self.rows}
        if any(type(row) is not int or row < 0 for row in self.rows.values()):
            raise InputError("an id is no whole number.")
        if len(set(self.rows.values())) < len(self.rows):
            raise InputError("two tokens have one id.")
        for role in ("start", "end"):
            if getattr(self, role) and role not in of:
                raise InputError(f"texts get a token for their {role}, but there is none.")
        first = [of.get(role, -1) for role in ("padding", "start", "end", "unknown")]
        if first[0] in first[1:3]:  # padding that is the end, too
            first[0] = -1
        if self.kind != "wordpiece" and not self.unknown:
            first[3] = -1
        elif first[3] < 0:
            raise InputError("there is no token for unknown words.")
        tokens = [token for token, row in sorted(self.rows.items(), key=lambda one: one[1]) if row not in first]
        specials = {*self.specials, *roles.values()}
        letters = set(alphabet())
        for token in tokens if self.kind == "bpe" else ():
            if token not in specials and not letters.issuperset(token):
                raise unsupported(f"the token {token!r}, which is not of bytes")
        hides = roles.get("mask")
        tokenizer = Tokenizer(
            self.kind,
            tokens if self.kind != "bytes" else (),
            [self.scores[token] for token in tokens] if self.scores else (),
            specials=[token for token in tokens if token in specials],
            hides=hides if hides in tokens else None,
            **{name: getattr(self, name) for name in TAKES.get(self.kind, ())},
        )
        if template is not None and self.pattern == "missing":
            warnings.warn(
                "The chat template is not used: its parts would be tokenized differently within a text.", stacklevel=2
            )
            template = None
        names = {role: roles[role] for role in ("start", "end") if role in of}
        rows = (*first, *(self.rows[token] for token in tokens))
        return Published(tokenizer, rows, self.start, self.end, template, names)


# Files ----------------------------------------------------------------------------------------------------------------


def _json(path: pathlib.Path) -> dict[str, Any]:
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise TypeError
    return found


def _named(settings: Mapping[str, Any], kind: str) -> dict[str, str]:
    """{role: token} of a map of special tokens, each a str or a mapping with its content."""
    found = {}
    for role, names in ROLES.items():
        for name in names if kind == "wordpiece" else names[::-1]:
            one = settings.get(name)
            one = one["content"] if isinstance(one, dict) else one
            if isinstance(one, str):
                found.setdefault(role, one)
    return found


def _by_number(config: Mapping[str, Any], given: Mapping[str, Any], draft: Draft) -> dict[str, str]:
    """{role: token} of a config.json, which gives numbers, or one of several; else the usual ones.

    Args:
        given: the tokenizer_config.json. Where it says that pairs have none, the usual one is none.
    """
    tokens, found = {row: token for token, row in draft.rows.items()}, {}
    for role, name in (("start", "bos_token_id"), ("end", "eos_token_id")):
        one = config.get(name)
        one = one[0] if isinstance(one, list) and one else one
        if type(one) is int and one in tokens:
            found[role] = tokens[one]
    usual = {"start": "[CLS]", "end": "[SEP]", "padding": "[PAD]", "unknown": "[UNK]", "mask": "[MASK]"}
    if draft.kind != "wordpiece":
        first, last = ("<|endoftext|>",) * 2 if draft.kind == "bpe" else ("<s>", "</s>")
        usual = {"start": first, "end": last}
        usual = {role: one for role, one in usual.items() if given.get(ROLES[role][-1], "") is not None}
    return {role: token for role, token in usual.items() if token in draft.rows} | found


def _template(config: Mapping[str, Any]) -> str | None:
    """The chat template of a tokenizer_config.json; of several the one called default."""
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}.get("default")
    if found is not None and not isinstance(found, str):
        raise TypeError
    return found


def _of_vocabulary(lines: Sequence[str], config: Mapping[str, Any]) -> Draft:
    lines = lines[:-1] if lines[-1] == "" else lines
    lower = config.get("do_lower_case", True)
    for name, value in (("strip_accents", None), ("tokenize_chinese_chars", True), ("do_basic_tokenize", True)):
        if config.get(name, value) not in (value, lower if name == "strip_accents" else value):
            raise unsupported(f"{name}={config[name]}")
    tokens = [line.removesuffix("\r") for line in lines]
    if len(set(tokens)) < len(tokens):
        raise InputError("a token stands there twice.")
    rows = {token: row for row, token in enumerate(tokens)}
    return Draft("wordpiece", rows, (), True, True, {}, lower=lower)


def _of_lists(folder: pathlib.Path, main: str, config: Mapping[str, Any]) -> Draft:
    merges = folder / dict(LISTS)[main]
    if not merges.is_file():
        raise InputError(f"there must be {merges.name} beside it.")
    lines = merges.read_text("utf-8").split("\n")
    lines = [line for line in lines[lines[0].startswith("#version") :] if line]
    if config.get("add_prefix_space"):
        raise unsupported("a space in front of texts")
    pattern = _class_pattern(config)
    start, end = (config.get(f"add_{name}_token") is True for name in ("bos", "eos"))
    return Draft("bpe", _json(folder / main), (), start, end, {}, merges=tuple(lines), pattern=pattern)


def _class_pattern(config: Mapping[str, Any]) -> str:
    """The pattern of a tokenizer that no tokenizer.json describes: GPT-2's, if it is GPT-2's."""
    name = config.get("tokenizer_class", "GPT2Tokenizer")
    if name not in ("GPT2Tokenizer", "GPT2TokenizerFast"):
        raise unsupported(f"the class {name}")
    return "gpt2"
