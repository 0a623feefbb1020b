"""What an editor sees: pyright on a user's calls, in the checkout, with the wheel, and with an editable install."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.test_packaging import ROOT, SITE, copy, environment, run

CALLS = ROOT / "tests" / "typing"
COMPLETENESS = 0.95
"""Part of the public symbols whose type is known. It may only rise: write the number here that the test prints."""

pytestmark = pytest.mark.slow


def pyright(*arguments, cwd, python):
    """What pyright says as JSON, with the search path of `python`."""
    # --verifytypes takes the python that is first on PATH, whatever --pythonpath says
    paths = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "pyright", "--outputjson", *map(str, arguments)]
    variables = environment(PATH=paths, PYRIGHT_PYTHON_IGNORE_WARNINGS="1")
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return json.loads(done.stdout)


def errors(said):
    """{(file, line)} of the errors that pyright found, with what it says."""
    return {
        (pathlib.Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in said["generalDiagnostics"]
        if one["severity"] == "error"
    }


def marked(file):
    """{(file, line)} of the lines that are marked `# expect error`."""
    lines = enumerate(file.read_text().splitlines(), 1)
    return {(file.name, number) for number, line in lines if line.endswith("# expect error")}


def seeing(folder, *install):
    """The Python of a new environment with `install` in it, which also sees the third parties of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd="/")
    python = folder / "bin" / "python"
    if install:
        pip = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
        run(sys.executable, *pip, *install, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    others = [path for path in sys.path if path.endswith("-packages")]
    pathlib.Path(site, "third_parties.pth").write_text("\n".join(dict.fromkeys([*SITE, *others])) + "\n")
    return python


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    return copy(tmp_path_factory.mktemp("copied") / "source")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return seeing(tmp_path_factory.mktemp("checkout") / "venv")


@pytest.fixture(scope="module")
def wheel(copied, tmp_path_factory):
    return seeing(tmp_path_factory.mktemp("wheel") / "venv", copied)


@pytest.fixture(scope="module")
def editable(copied, tmp_path_factory):
    return seeing(tmp_path_factory.mktemp("editable") / "venv", "--editable", copied)


@pytest.mark.parametrize("situation", ["checkout", "wheel", "editable"])
def test_right_calls_pass_and_wrong_ones_are_found(situation, request, tmp_path):
    """From the root of the checkout, or from a folder that has nothing of ours."""
    python = request.getfixturevalue(situation)
    files = [CALLS / "user_calls.py", CALLS / "wrong_calls.py"]
    cwd = ROOT
    if situation != "checkout":
        cwd = tmp_path
        files = [pathlib.Path(shutil.copy(file, tmp_path)) for file in files]
    found = errors(pyright("--pythonpath", python, *files, cwd=cwd, python=python))
    expected = marked(CALLS / "wrong_calls.py")
    assert {place: found[place] for place in set(found) - expected} == {}
    assert expected - set(found) == set()


def test_the_public_types_are_as_complete_as_they_were(wheel, tmp_path):
    said = pyright("--verifytypes", "zoo", "--ignoreexternal", cwd=tmp_path, python=wheel)["typeCompleteness"]
    reached = said["completenessScore"]
    print(f"Types known: {reached:.4f}; at least {COMPLETENESS} is asked for.")
    assert pathlib.Path(said["packageRootDirectory"]).is_relative_to(wheel.parents[1])
    unknown = [one["name"] for one in said["symbols"] if one["isExported"] and not one["isTypeKnown"]]
    assert reached >= COMPLETENESS, "\n".join(unknown)
