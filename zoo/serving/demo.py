"""`zoo demo`: a page in the browser that asks a model and shows its answers.

What it asks for and shows is the task's (`Recipe.demo_form`, `Recipe.demo`); the page is one template, one script and
one style sheet of this folder, and requests nothing of another host.
"""

import asyncio
import base64
import importlib.resources
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import figures
from zoo.errors import InputError, ZooError
from zoo.figures import demo
from zoo.serving.listening import TooLarge, body_of, error

if TYPE_CHECKING:
    import keras
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and send: from here and to here alone."""

_FILES = {"demo.js": "text/javascript", "demo.css": "text/css"}


class Demo:
    """The page of a model.

    Args:
        model: as `zoo.load` returns it, with `recipe` and `reader`.
        source: what the model was opened from, as the page names it.
        probe: raw examples of a run ({signature/input: array}), which the form begins with.
    """

    def __init__(self, model: "keras.Model", source: str, probe: Mapping[str, np.ndarray] | None = None) -> None:
        self._model = model
        self._recipe: Any = model.recipe
        self._form: demo.Form = self._recipe.demo_form(model.reader, probe or {})
        self._page = _page(self._form, self._recipe.label, source, model.count_params())
        self._alone = asyncio.Lock()

    def app(self) -> "Starlette":
        """Returns the application."""
        from starlette.applications import Starlette
        from starlette.responses import Response
        from starlette.routing import Route

        headers = {
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }

        def fixed(content: str, kind: str) -> Callable[..., "Response"]:
            return lambda request: Response(content, headers=headers, media_type=kind)

        files = [Route(f"/{name}", fixed(_text(name), kind)) for name, kind in _FILES.items()]
        page, health = fixed(self._page, "text/html"), fixed('{"status": "ok"}', "application/json")
        answer = Route("/answer", self._answer, methods=["POST"])
        return Starlette(routes=[Route("/", page), Route("/healthz", health), *files, answer])

    async def _answer(self, request: "Request") -> "Response":
        """The parts of an answer as lines of JSON, each sent when it is known; what cannot be asked is status 400."""
        from starlette.responses import StreamingResponse

        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error(415, "The body must be application/json.")  # a form of another site's page cannot send that
        try:
            given = _given(self._form, await body_of(request))
        except TooLarge as wrong:
            return error(413, str(wrong), {"Connection": "close"})
        except InputError as wrong:
            return error(400, str(wrong))
        parts = self._parts(given)
        first = await anext(parts)
        if first["kind"] == "error":
            await parts.aclose()
            return error(first["status"], first["text"])

        async def lines() -> AsyncIterator[bytes]:
            yield _line(first)
            async for part in parts:
                yield _line(part)

        return StreamingResponse(lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})

    async def _parts(self, given: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The parts of an answer as JSON has them, one model at work at a time; an error is the last of them."""
        from starlette.concurrency import run_in_threadpool

        async with self._alone:
            parts = _told(self._recipe.demo(self._model, given))
            while (part := await run_in_threadpool(next, parts, None)) is not None:
                yield part
            yield {"kind": "done"}


def _told(parts: Iterator[demo.Shown]) -> Iterator[dict[str, Any]]:
    """Parts as JSON has them, with warnings as notes; an error is the last."""
    try:
        while True:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                part = next(parts, None)
            for one in said:
                if one.category is UserWarning:
                    yield demo.as_json(demo.Note(str(one.message)))
            if part is None:
                return
            yield demo.as_json(part)
    except InputError as wrong:
        yield {"kind": "error", "status": 400, "text": str(wrong)}
    except Exception as wrong:  # of the model: the page says so, and the server goes on
        why = str(wrong) if isinstance(wrong, ZooError) else type(wrong).__name__
        yield {"kind": "error", "status": 500, "text": f"The model failed: {why}."}


def _given(form: demo.Form, data: bytes) -> dict[str, Any]:
    """{name of a question: str, or bytes of an image} of the JSON that the page sends."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("The body is not JSON.") from None
    names = {one.name: one for one in form.questions}
    if not isinstance(found, dict) or set(found) - set(names):
        raise InputError(f"The body must be an object with {', '.join(names)}.")
    for name, value in found.items():
        if not isinstance(value, str):
            raise InputError(f"{name} must be a string.")
    given: dict[str, Any] = {}
    for name, question in names.items():
        value = found.get(name, "")
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise InputError(f"{name} has half a character.")
        if question.kind == "image":
            try:
                value = base64.b64decode(value, validate=True)
            except ValueError:  # binascii.Error among them
                raise InputError(f"{name} is not base64.") from None
            if not value:
                raise InputError("There is no image yet: choose a file, or draw.")
        given[name] = value
    return given


def _line(part: Mapping[str, Any]) -> bytes:
    return json.dumps(part, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _text(name: str) -> str:
    return importlib.resources.files("zoo.serving").joinpath(name).read_text("utf-8")


def _page(form: demo.Form, label: str, source: str, weights: int) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    examples = {one.name: [demo.png_url(file) for file in one.examples] for one in form.questions}
    facts = {"label": label, "source": source, "weights": weights, "dark": figures.DARK.paper}
    return environment.from_string(_text("demo.html.j2")).render(form=form, examples=examples, **facts)
