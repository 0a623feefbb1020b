"""`zoo serve`: an export behind TensorFlow Serving's REST API, requests batched together.

https://www.tensorflow.org/tfx/serving/api_rest: paths, formats, and `{"error": ...}` with its status codes.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zoo.errors import InputError, ZooError
from zoo.serving import rest
from zoo.serving.batching import Batcher, Full
from zoo.serving.listening import TooLarge, body_of, error

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from zoo.serving.exported import Signature

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a model may be called."""

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<metadata>/metadata)?(?::(?P<verb>[a-z]+))?"
)


class Model(Protocol):
    """What is served: an `Exported`, or what has its members."""

    version: int
    signatures: dict[str, "Signature"]

    def signature(self, name: Any) -> "Signature":
        """Returns a signature by its name. Raises: `InputError` where there is none."""
        ...

    def ask(self, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {output: array} of a signature. Raises: `InputError` where the model refuses what it was given."""
        ...

    def metadata(self) -> dict[str, Any]:
        """Returns {signature: its definition} as TensorFlow Serving writes it."""
        ...


class _NotFound(ZooError):
    """There is no such model or version."""


class Service:
    """A model, and how requests are answered by it.

    Args:
        model: a `Model`.
        name: what it is called in paths.
        most, delay, queue: as of `Batcher`.
    """

    def __init__(self, model: Model, name: str, *, most: int = 64, delay: float = 0.002, queue: int = 256) -> None:
        self._model = model
        self._name = name
        self._batcher = Batcher(model.ask, most=most, delay=delay, queue=queue)

    def app(self) -> "Starlette":
        """Returns the application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = [
            Route("/healthz", self._answering(self._health), methods=["GET"]),
            Route("/{path:path}", self._answering(self._route), methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
        return Starlette(routes=routes, lifespan=self._living)

    @contextlib.asynccontextmanager
    async def _living(self, app: "Starlette") -> AsyncIterator[None]:
        """Has the batcher answer while the server runs; at the end no request is in flight."""
        task = asyncio.create_task(self._batcher.serve())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._batcher.close()

    def _answering(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """`handler`, whose errors are answers of one line."""

        async def answer(request: "Request") -> "Response":
            try:
                return await handler(request)
            except TooLarge as wrong:
                return error(413, str(wrong), {"Connection": "close"})
            except _NotFound as wrong:
                return error(404, str(wrong))
            except Full as wrong:
                return error(503, str(wrong), {"Retry-After": "1"})
            except InputError as wrong:
                return error(400, str(wrong))
            except Exception as wrong:  # of the model: a client sees its kind, and the server goes on
                return error(500, f"The model failed: {type(wrong).__name__}.")

        return answer

    async def _health(self, request: "Request") -> "Response":
        return _json({"status": "ok", "model": self._name, "version": self._model.version, **self._load()})

    def _load(self) -> dict[str, int]:
        return {"waiting": self._batcher.waiting}

    async def _route(self, request: "Request") -> "Response":
        found = _PATH.fullmatch(request.url.path)
        get = request.method == "GET"
        if found is None or (found["verb"] is None) != get or (found["metadata"] and not get):
            raise InputError(f"Malformed request: {request.method} {request.url.path}")
        self._check(found)
        if found["metadata"]:
            return self._describe()
        if get:
            return self._status()
        if found["verb"] != "predict":
            raise InputError(f"Of an export, :{found['verb']} is not served: ask :predict.")
        return await self._predict(await body_of(request))

    def _check(self, found: "re.Match[str]") -> None:
        """Raises where another model or version is asked for."""
        name, version, label = found["name"], found["version"], found["label"]
        if name == self._name and label is None and (version is None or int(version) == self._model.version):
            return
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        which = which if label is None else f"Label({name}, {label})"
        raise _NotFound(f"Servable not found for request: {which}. There is {self._name}, {self._model.version}.")

    def _status(self) -> "Response":
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": str(self._model.version), "state": "AVAILABLE", "status": status}
        return _json({"model_version_status": [version]})

    def _describe(self) -> "Response":
        spec = {"name": self._name, "signature_name": "", "version": str(self._model.version)}
        return _json({
            "model_spec": spec, "metadata": {"signature_def": {"signature_def": self._model.metadata()}},
        })  # fmt: skip

    async def _predict(self, data: bytes) -> "Response":
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        signature, key, arrays = await _near(len(data), run_in_threadpool, self._read, data)
        rows = {len(array) for array in arrays.values()} if signature.batches else set()
        if len(rows) > 1:
            raise InputError(f"The inputs of {signature.name} must have equally many rows.")
        found = await self._batcher.ask(signature.name, arrays, rows.pop() if rows else None)
        size = sum(array.nbytes for array in found.values())
        return Response(await _near(size, run_in_threadpool, rest.written, found, key), media_type="application/json")

    def _read(self, data: bytes) -> tuple["Signature", str, dict[str, np.ndarray]]:
        """(signature, key of its format, arrays) of a request."""
        body = rest.read_body(data)
        signature = self._model.signature(body.get("signature_name", "serving_default"))
        return signature, next(key for key in rest.FORMATS if key in body), rest.read_arrays(body, signature)


async def _near(size: int, elsewhere: Callable[..., Any], function: Callable[..., Any], *values: Any) -> Any:
    """What `function` returns of `values`, here; of more bytes than take a millisecond in a thread, so that others
    are answered meanwhile."""
    return function(*values) if size < 20_000 else await elsewhere(function, *values)


def _json(value: Any) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(value)
