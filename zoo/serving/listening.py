"""What servers of ours share: a port, an application, and an end in order."""

import asyncio
import contextlib
import errno
import importlib.util
import ipaddress
import json
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError, Interrupted, ending_signals, install_line

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

LARGEST = 64_000_000
"""Bytes of a request at most."""

PATIENCE = 30
"""Seconds that requests in flight have to end, once the server is told to."""


class TooLarge(InputError):
    """The body of a request has more than `LARGEST` bytes."""


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket of the address, which does not listen yet. Port 0 is a free one.

    Raises: `InputError` where the extra is not installed, or the address cannot be had.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"A server needs {' and '.join(missing)}: {install_line('serve')}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host={host} is no address of this machine.") from None
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen()  # else a second server could take the same port until this one listens
    except OSError as error:
        found.close()
        why = {
            errno.EADDRINUSE: f"Port {port} is in use. Name another --port, or --port 0 for a free one.",
            errno.EACCES: f"Port {port} needs rights that you do not have. Name a --port of at least 1024.",
            errno.EADDRNOTAVAIL: f"--host={host} is no address of this machine.",
        }
        raise InputError(why.get(error.errno or 0, f"{host}:{port} cannot be had: {error.strerror}.")) from None
    return found


def url(listener: socket.socket) -> str:
    """Returns the address of a socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def local(listener: socket.socket) -> bool:
    """Returns whether only this machine reaches a socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def guarded(app: "ASGIApp", listener: socket.socket) -> "ASGIApp":
    """Returns `app`; on a loopback address it then answers only to names of this machine.

    Otherwise a page of the web whose name its owner points at 127.0.0.1 could read the answers.
    """
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if not local(listener):
        return app
    address = listener.getsockname()[0]
    names = ["localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address]
    return TrustedHostMiddleware(app, names, www_redirect=False)


def run(app: "ASGIApp", listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serves `app` until Ctrl-C, SIGTERM or SIGHUP. Then requests in flight are finished, for `PATIENCE` seconds.

    Args:
        ready: called once requests are answered.
    Raises: `Interrupted`, when a signal ended it.
    """
    import uvicorn

    class Server(uvicorn.Server):
        """Says when it is ready, and leaves signals to us."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

    options = {"log_level": "error", "access_log": False, "lifespan": "on", "server_header": False}
    server = Server(uvicorn.Config(guarded(app, listener), timeout_graceful_shutdown=PATIENCE, **options))
    sent: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        server.force_exit = bool(sent)  # the second time, at once
        server.should_exit = True
        sent.append(number)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, *ending_signals()):
            loop.add_signal_handler(number, end, number)
        await server.serve([listener])

    asyncio.run(serve())
    if sent:
        raise Interrupted("Stopped.", by=KeyboardInterrupt(sent[0]))


async def body_of(request: "Request") -> bytes:
    """Returns the body of a request. Raises: `TooLarge`, as soon as that is known."""
    told = request.headers.get("content-length", "")
    size = int(told) if told.isascii() and told.isdecimal() else 0
    parts: list[bytes] = []
    if size <= LARGEST:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > LARGEST:
                break
            parts.append(part)
    if size > LARGEST:
        raise TooLarge(f"A request may have {LARGEST:,} bytes.")
    return b"".join(parts)


def error(status: int, message: str, headers: dict[str, str] | None = None) -> "Response":
    """Returns an answer with `{"error": message}`."""
    from starlette.responses import Response

    body = json.dumps({"error": message}, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type="application/json")
