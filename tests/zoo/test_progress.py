"""Progress bars: in a terminal, after a few seconds, and nowhere else."""

import io
import sys
import time

import pytest

from zoo.data import progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes stderr a terminal in which a bar appears at once; called in a test, because pytest sets stderr itself."""

    def make():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(progress, "PATIENCE", 0)
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return make


def until(stream, text):
    """Waits until a text is on a stream."""
    deadline = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


def test_a_bar_has_the_steps_and_the_time_left(terminal, capsys):
    stream = terminal()
    with progress.shown("Reading images", 7) as advance:
        advance(3)
        until(stream, "3/7")
        until(stream, "left")
    assert "Reading images" in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_what_has_no_known_end_has_a_clock(terminal):
    stream = terminal()
    with progress.shown("Exporting"):
        until(stream, "0:00:0")
    assert "left" not in stream.getvalue()


def test_what_is_fast_or_quiet_or_inside_of_another_shows_nothing(terminal, monkeypatch):
    stream = terminal()
    with progress.silent(), progress.shown("quiet", 3) as advance:
        advance(1)
    with progress.silent(False), progress.shown("outer"):
        until(stream, "outer")
        with progress.shown("inner", 3) as advance:
            advance(1)
    monkeypatch.setattr(progress, "PATIENCE", 1e6)
    with progress.shown("fast"):
        pass
    assert not {"quiet", "inner", "fast"} & set(stream.getvalue().replace("\x1b", " ").split())


def test_a_pipe_gets_nothing_and_an_error_passes(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", 0)

    def fail():
        with progress.shown("Reading", 3) as advance:
            advance(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert stream.getvalue() == ""
