"""Processes of Python that start warm: forked from one that has imported TensorFlow, which takes most of their time.

`run` and `start` stand for `subprocess.run` and `subprocess.Popen` where a test starts `sys.executable`. What they
start has the arguments, the environment, the folder and the path of a process of its own, and nothing of ours has been
imported before it. Those with `-I` are forked from a process that has TensorFlow alone, others from one that has Keras
too. All workers of a test run share these two processes, which end when the last of the workers does.

Where forks are not safe, or an option is not one of those here, a process is started afresh.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import itertools
import json
import os
import pathlib
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings

MODULES = {"isolated": ["tensorflow"], "keras": ["tensorflow", "keras", "tensorflow_datasets", "keras_tuner"]}
"""What each kind of server has imported."""

PIPE, DEVNULL, CompletedProcess = subprocess.PIPE, subprocess.DEVNULL, subprocess.CompletedProcess

_present = {}  # {(kind, backend): the connection that keeps the server alive}


# For tests ------------------------------------------------------------------------------------------------------------


def run(command, *, capture_output=True, text=True, check=False, cwd=None, env=None, input=None):
    """As `subprocess.run`, whose output is always captured, as text; `input` is of few lines."""
    assert capture_output
    assert text
    arguments = _parsed(command)
    if arguments is None:
        return subprocess.run(command, capture_output=True, text=True, check=check, cwd=cwd, env=env, input=input)
    with tempfile.TemporaryDirectory() as folder:
        out, err, given = (pathlib.Path(folder, name) for name in ("out", "err", "in"))
        given.write_text(input or "")
        process = Process(arguments, cwd, env, out, err, given)
        process.wait()
        done = subprocess.CompletedProcess(command, process.returncode, out.read_text(), err.read_text())
    if check:
        done.check_returncode()
    return done


def start(command, *, cwd=None, env=None, stderr=None):
    """As `subprocess.Popen`: something with `poll`, `wait` and `kill`. What it prints is lost."""
    arguments = _parsed(command)
    if arguments is None:
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Process(arguments, cwd, env, os.devnull, os.devnull)


class Popen:
    """As `subprocess.Popen` for `communicate`: a warm process has nothing to load, and starts only then."""

    def __init__(self, command, *, env, text, stdin, stdout, stderr):
        self.returncode = None
        self._command, self._env = command, env

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def communicate(self, input):
        done = run(self._command, env=self._env, input=input)
        self.returncode = done.returncode
        return done.stdout, done.stderr

    def kill(self):
        pass


class Process:
    def __init__(self, arguments, cwd, env, out, err, given=os.devnull):
        environment = dict(os.environ if env is None else env)
        job = {"arguments": arguments, "cwd": os.path.abspath(cwd or os.getcwd()), "env": environment}
        kind = "isolated" if "-I" in arguments["options"] else "keras"
        self._connection = _connected(kind, environment.get("KERAS_BACKEND", "tensorflow"))
        self._replies = self._connection.makefile("r")
        job |= {"in": str(given), "out": str(out), "err": str(err)}
        self._connection.sendall(json.dumps(job).encode() + b"\n")
        self.pid = int(self._replies.readline())
        self.returncode = None

    def poll(self):
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self):
        if self.returncode is None:
            self.returncode = int(self._replies.readline())
            self._replies.close()
            self._connection.close()
        return self.returncode

    def kill(self):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _parsed(command):
    """{"options", "how", "what", "rest"} of `command`; None where it is not for a warm process."""
    command = [str(part) for part in command]
    if sys.platform != "linux" or command[0] != sys.executable:
        return None
    options, rest = [], command[1:]
    while rest and rest[0] in ("-I", "-P", "-W"):
        count = 2 if rest[0] == "-W" else 1
        options, rest = options + rest[:count], rest[count:]
    if not rest or (rest[0].startswith("-") and rest[0] not in ("-c", "-m")):
        return None
    how = rest.pop(0) if rest[0].startswith("-") else "file"
    return {"options": options, "how": how, "what": rest[0], "rest": rest[1:]}


def _connected(kind, backend):
    """A connection to the server of a kind; it is started where there is none."""
    run_of_tests = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid-{os.getpid()}")
    folder = pathlib.Path(tempfile.gettempdir(), f"warm-{run_of_tests}-{kind}-{backend}")
    if (kind, backend) not in _present:
        _present[kind, backend] = _connect_or_serve(folder, kind, backend)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "socket"))
    return connection


@atexit.register
def _leave():
    for connection in _present.values():
        connection.close()


def _connect_or_serve(folder, kind, backend):
    lock = folder.with_suffix(".lock")
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            connection.connect(str(folder / "socket"))
            connection.sendall(b"{}\n")
            if connection.recv(1):
                return connection
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        environment = {
            **os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1",
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)
        option = "-I" if kind == "isolated" else "-P"
        command = [sys.executable, option, __file__, kind, str(folder), str(listener.fileno())]
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(
                command, env=environment, cwd="/", pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        server.returncode = 0  # it outlives this worker, and Popen would warn
        listener.close()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(folder / "socket"))
        connection.sendall(b"{}\n")
        if not connection.recv(1):
            raise RuntimeError((folder / "log").read_text())
        return connection


# The server -----------------------------------------------------------------------------------------------------------


def _serve(kind, folder, listener):
    """Returns a job in each process that is forked for one; the server itself ends with its last client."""
    for name in MODULES[kind]:
        with warnings.catch_warnings(), contextlib.suppress(ImportError):
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.freeze()  # a collection in a job copies nothing of all this
    listener = socket.socket(fileno=int(listener))
    clients = set()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        for one in select.select([listener, *clients], [], [])[0]:
            if one is listener:
                clients.add(listener.accept()[0])
                continue
            text = _line(one)
            if text == b"{}\n":
                one.sendall(b".")
            elif text:
                if os.fork() == 0:
                    listener.close()
                    return _forked(one, json.loads(text))
                clients.discard(one)
                one.close()
            else:
                clients.discard(one)
                one.close()
                if not clients:
                    shutil.rmtree(folder, ignore_errors=True)
                    with contextlib.suppress(OSError):
                        os.unlink(f"{folder}.lock")
                    return None


def _line(connection):
    text = b""
    while not text.endswith(b"\n") and (more := connection.recv(2**16)):
        text += more
    return text


def _forked(connection, job):
    """Returns the job in the process that does it; its parent tells the client how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        connection.close()
        return job
    connection.sendall(f"{pid}\n".encode())
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)  # whoever asked is gone
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(job):
    """Makes this process what `python OPTIONS -c CODE`, `-m MODULE` or `FILE` would have started."""
    given = os.open(job["in"], os.O_RDONLY)
    os.dup2(given, 0)
    os.close(given)
    for number, path in ((1, job["out"]), (2, job["err"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    arguments = job["arguments"]
    options, how, what = arguments["options"], arguments["how"], arguments["what"]
    first = {"-c": "", "-m": job["cwd"], "file": os.path.dirname(os.path.abspath(what))}[how]
    if "-I" not in options:
        more = [path for path in job["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.path[:0] = more if "-P" in options else [first, *more]
    importlib.invalidate_caches()
    warnings.resetwarnings()
    for action in ("error", "ignore", "default", "always"):
        if any(pair == ("-W", action) for pair in itertools.pairwise(options)):
            sys.warnoptions.append(action)
            warnings.simplefilter(action)
    sys.argv[:] = [{"-c": "-c", "-m": what, "file": what}[how], *arguments["rest"]]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == "file":
        runpy.run_path(what, run_name="__main__")
    else:
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(what, "<string>", "exec"), main.__dict__)


def _end_of(job):
    """Does a job, and ends as Python would, but for taking all modules apart, which copies them first."""
    status = 0
    try:
        _become(job)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if stop.code is not None and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _job = _serve(*sys.argv[1:])
    if _job is not None and "-W" in _job["arguments"]["options"]:
        _become(_job)  # and Python warns of what was left open
    elif _job is not None:
        _end_of(_job)
