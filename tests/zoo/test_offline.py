"""With ZOO_OFFLINE=1 no verb reaches another machine: seen by Python's audit hook, and by strace where it may trace."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import zoo

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(zoo.__file__).parents[1]

VERBS = """
import importlib.util, os, signal, socket, sys, threading, urllib.error, urllib.request
from zoo import cli

def end_when_it_answers(port):
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
        except urllib.error.HTTPError:
            break
        except OSError:
            continue
        break
    os.kill(os.getpid(), signal.SIGTERM)

with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
served = importlib.util.find_spec("uvicorn") is not None
for line, expected in (
    ("list", 0), ("train lenet epochs=1 --directory run", 0), ("evaluate run", 0), ("report run", 0),
    ("predict run run/report/confusion.png", 0), ("export run exported", 0), ("show lenet", 0),
    ("tune lenet epochs=1 --max-trials 1 --directory study", 0), ("leaderboard study", 0), ("report study", 0),
    ("runs", 0), ("watch run", 0), ("compare run study", 0),
    *[(f"{what} --port {port} --quiet", 143) for what in ("serve exported", "demo run") if served],
    ("data list", 0), ("data verify digits", 0), ("data prepare tfds:mnist", 2), ("show hf:nobody/nothing", 2),
    ("train resnet init_from=hf:nobody/nothing", 2),
):
    status = 0
    if "--port" in line:
        threading.Thread(target=end_when_it_answers, args=(port,), daemon=True).start()
    try:
        cli.main(line.split())
    except SystemExit as stop:
        status = stop.code or 0
    assert status == expected, (line, status)
"""

HOOK = """
import os, sys

def note(event, arguments, file=os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
        os.write(file, f"{event} {arguments[1]!r}\\n".encode())
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        os.write(file, f"{event} {arguments[0]!r}\\n".encode())

sys.addaudithook(note)
"""

HERE = r"(?:127\.\d+\.\d+\.\d+|::1|localhost)"
LOCAL = re.compile(rf"socket\.\w+ (?:b?'(?:/|\\x00|\\0)[^']*'|'\\x00.*|\('{HERE}'.*|'{HERE}'|None)$")


def verbs(tmp_path, *before, **environment):
    """Runs every verb in one process, and those that it starts."""
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ZOO_OFFLINE": "1", "PYTHONPATH": paths, **environment}
    (tmp_path / "work").mkdir()
    command = [*before, sys.executable, "-c", VERBS]
    done = subprocess.run(command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_verb_asks_python_for_another_machine(tmp_path):
    """Libraries in C, and the process with `-I` that verifies an export, do not see the hook: strace sees them."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    log = tmp_path / "audit"
    verbs(tmp_path, AUDIT=str(log))
    assert log.exists()
    far = [line for line in log.read_text().splitlines() if not LOCAL.fullmatch(line)]
    assert far == []


def test_the_hook_sees_a_connection(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    code = "import socket; s = socket.socket(); s.settimeout(0.01); s.connect(('192.0.2.1', 80))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AUDIT": str(tmp_path / "audit")}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert not LOCAL.fullmatch((tmp_path / "audit").read_text().strip())


def test_no_verb_connects_to_another_machine(tmp_path):
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=network", "-o", str(trace)]
    if shutil.which("strace") is None or subprocess.run([*command, "true"]).returncode:
        pytest.skip("strace may not trace here")
    verbs(tmp_path, *command)
    assert far(trace.read_text()) == []


def far(trace):
    """The lines of strace's output that name an address of another machine."""
    named = [
        line for line in trace.splitlines() if re.search(r"\b(connect|sendto|sendmsg|bind)\(.*sa_family=AF_INET", line)
    ]
    return [line for line in named if not re.search(r'inet_addr\("127\.|"::1"|"::ffff:127\.', line)]
