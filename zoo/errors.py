"""The errors that a person is meant to read. Each carries the exit status of the command line."""

import difflib
import numbers
import signal
import types
from collections.abc import Iterable
from typing import NoReturn


class ZooError(Exception):
    """Base of all errors that `zoo` raises on purpose: one clear line, no traceback on the command line.

    What does not print in a value that the line repeats, such as a line feed, is escaped.
    """

    exit_status: int = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(ZooError, ValueError):
    """What was asked for cannot be: the message names the value, what is allowed, and the next step."""

    exit_status = 2


class RunError(ZooError, RuntimeError):
    """A run, an export or a verification failed on the way."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP stopped a run that can be resumed; the message says how.

    Attributes:
        signal: SIGINT; SIGTERM, which containers and clusters send; or SIGHUP, which a terminal that closes sends.
        exit_status: 128 and the number of the signal, as a shell has it.
    """

    exit_status: int = 128 + signal.SIGINT

    def __init__(self, message: str = "", by: BaseException | None = None) -> None:
        super().__init__(message)
        sent = by.args[0] if by is not None and by.args else None
        self.signal = sent if isinstance(sent, signal.Signals) else signal.SIGINT
        self.exit_status = 128 + self.signal


def ending_signals() -> list[signal.Signals]:
    """Returns the signals, beside Ctrl-C, that end a verb in order.

    SIGHUP comes where the terminal or the shell ends. `nohup` ignores it, and then so do we.
    """
    hangs_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


def interrupt(number: int, frame: types.FrameType | None = None) -> NoReturn:
    """A handler of signals: raises the `KeyboardInterrupt` that `Interrupted` takes as what it came by."""
    raise KeyboardInterrupt(signal.Signals(number))


_USUAL = {
    "lr": "learning_rate",
    "bs": "batch_size",
    "wd": "weight_decay",
    "data": "dataset",
    "weights": "init_from",
    "pretrained": "init_from",
    "early_stopping": "patience",
    "label_smooth": "label_smoothing",
}
"""{name of a field elsewhere: our name}, where spelling alone finds another or none."""


def printable(text: str) -> str:
    """Returns text on one line: line feeds, and whatever else does not print, as Python escapes it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def nearest(name: object, choices: Iterable[object]) -> str:
    """Returns ` Did you mean 'x'?`, or '' where no choice is near `name`."""
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def counted(count: int, noun: str) -> str:
    """Returns `1 token`, or `3,000 tokens`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def install_line(extra: str) -> str:
    """Returns what to run for an extra of pyproject.toml: the package is on no index, so its checkout installs it."""
    return f"in the checkout of zoo, run pip install -c constraints.txt '.[{extra}]'"


def check_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Returns `value` as an int; what is no whole number of at least `least`, and `most` at most, is an `InputError`.

    NumPy's integers are whole numbers, and booleans are not.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        legal = f"of at least {least}" if most is None else f"from {least:,} to {most:,}"
        raise InputError(f"{name} must be a whole number {legal}. Received: {name}={value!r}.")
    return int(value)


def unknown(kind: str, name: object, choices: Iterable[object]) -> InputError:
    """Returns the `InputError` for a name that is none of `choices`."""
    choices = list(choices)
    usual = _USUAL.get(str(name))
    near = f" Did you mean {usual!r}?" if usual in choices else nearest(name, choices)
    listed = f" There are: {', '.join(str(choice) for choice in choices) or 'none'}."
    return InputError(f"Unknown {kind} {name!r}.{near}{'' if near and len(choices) > 12 else listed}")
