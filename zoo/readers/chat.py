"""Chat templates: the ids that a network which was trained to answer expects around a message."""

import json
import re
from collections.abc import Sequence
from typing import Any

from zoo.data._tensorflow import tensorflow
from zoo.data.tokens import END, SPECIAL, START
from zoo.errors import InputError
from zoo.readers.published import BROKEN, Published

MESSAGE = "the-message-of-the-user-4f1c9a"
"""Stands for what a user says, where a template is rendered."""


def chat(published: Published) -> dict[str, tuple[Any, Any]]:
    """Returns what the chat template puts around what a user says, once, for an answer, as `TextReader` takes it.

    That is the ids "before" and "after". Of a tokenizer to which a text is one word, the ids end and begin with special
    tokens, and the text between these and what the user says is "around", (in front, behind).

    What the template says by itself, such as a default system message, is part of it. Special tokens in the template
    are recognised. The template comes from a stranger: it is rendered in Jinja's sandbox.

    Raises: `InputError` where there is no template, or it cannot be used.
    """
    import jinja2
    import jinja2.sandbox

    if published.template is None:
        raise InputError("The tokenizer has no chat template: it was not trained to answer messages.")

    def refused(message):
        raise jinja2.TemplateError(str(message))

    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    sandbox.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
    sandbox.globals["raise_exception"] = refused
    try:
        rendered = sandbox.from_string(published.template).render(
            messages=[{"role": "user", "content": MESSAGE}],
            add_generation_prompt=True,
            tools=None,
            documents=None,
            bos_token=published.names.get("start", ""),
            eos_token=published.names.get("end", ""),
        )
    except (jinja2.TemplateError, *BROKEN, ArithmeticError, MemoryError) as error:
        raise InputError(f"The chat template cannot be rendered: {str(error)[:200] or type(error).__name__}") from None
    parts = rendered.split(MESSAGE)
    if len(parts) != 2:
        raise InputError(f"The chat template writes a message {len(parts) - 1} times, and must write it once.")
    (*before, last), (first, *after) = (_parts(published, part) for part in parts)
    if published.tokenizer.kind == "character_bpe":
        return {"before": _ids(published, before), "after": _ids(published, after), "around": (last, first)}
    return {"before": _ids(published, [*before, last]), "after": _ids(published, [first, *after])}


def _specials(published: Published) -> dict[str, int]:
    """{special token: its id}."""
    tokenizer = published.tokenizer
    specials = set(tokenizer.specials)
    ids = {token: SPECIAL + number for number, token in enumerate(tokenizer.tokens) if token in specials}
    ids |= {published.names[role]: one for role, one in (("end", END), ("start", START)) if role in published.names}
    return ids


def _parts(published: Published, text: str) -> list[str]:
    """A text, split at its special tokens, which are every other part."""
    ids = _specials(published)
    pattern = "|".join(re.escape(token) for token in sorted(ids, key=len, reverse=True))
    return re.split(f"({pattern})", text) if ids else [text]


def _ids(published: Published, parts: Sequence[str]) -> tuple[int, ...]:
    """Ids of what `_parts` returns."""
    tf = tensorflow()

    ids, found = _specials(published), []
    for part in parts:
        if part in ids:
            found.append(ids[part])
        elif part:
            found += published.tokenizer.encode_now(tf.constant([part]))[0].numpy().tolist()[:-1]
    return tuple(found)
