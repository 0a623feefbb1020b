"""CONTRIBUTING.md takes a newcomer to a recipe and a layer: its files, as they stand there, in a package apart."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests import warm
from zoo.errors import install_line

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files(page):
    """{name: text} of the fenced blocks that a comment gives a file's name."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


@pytest.mark.slow
def test_a_newcomers_recipe_is_found_through_its_entry_point_trains_and_keeps_the_laws(tmp_path):
    found = files("CONTRIBUTING.md")
    assert found["tiny_net.py"].count("\n") < 40
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("raise ImportError('listing must not import the package')\n")
    (tmp_path / "my_package" / "tiny_net.py").write_text(found["tiny_net.py"])
    (tmp_path / "test_tiny_net.py").write_text(found["test_tiny_net.py"])
    metadata = tmp_path / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zoo.recipes]\ntiny_net = my_package.tiny_net:TinyNet\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    def run(*arguments):
        command = [sys.executable, "-m", *arguments]
        done = warm.run(command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert re.search(r"^tiny_net +image_classification +A convolution.*wide", run("zoo", "list"), re.MULTILINE)
    (tmp_path / "my_package" / "__init__.py").write_text("")
    assert "Done" in run("zoo", "train", "tiny_net/wide", "epochs=1", "--directory", "run")
    assert "1 passed" in run("pytest", "-q", "-p", "no:cacheprovider", "test_tiny_net.py")
    assert "Done" in run("zoo", "train", "./my_package/tiny_net.py", "epochs=1", "--directory", "by-file")


@pytest.mark.rest
@pytest.mark.backend
def test_a_newcomers_layer_keeps_the_laws(tmp_path):
    found = files("CONTRIBUTING.md")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "leaky_sum.py").write_text(found["leaky_sum.py"])
    (tmp_path / "test_leaky_sum.py").write_text(found["test_leaky_sum.py"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-W", "default", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_leaky_sum.py"]
    done = warm.run(command, cwd=tmp_path, env=environment)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "ResourceWarning" not in done.stderr


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def extras():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def installed():
    """The targets of each `pip install` in the pages, and of what error messages say."""
    lines = [line for page in PAGES for line in re.findall(r"pip install [^`&#\n]*", page.read_text())]
    lines += [install_line(extra).partition("run ")[2] for extra in extras()]
    return {shlex.split(line)[-1] for line in lines}


def test_every_install_line_installs_from_the_checkout():
    """The package is on no index, where its name would be anybody's."""
    named = {path.relative_to(ROOT).as_posix() for path in [*PAGES, *(ROOT / "zoo").rglob("*.py")]
             if "keras-zoo[" in path.read_text()}  # fmt: skip
    assert not named
    assert installed() <= {".", *(f".[{extra}]" for extra in extras())}


def test_every_row_of_what_was_tried_names_tests_that_exist():
    table = (ROOT / "docs" / "runs.md").read_text().partition("## What was tried")[2].partition("\n\nOn a GPU")[0]
    rows = re.findall(r"^\| .*$", table, re.MULTILINE)[1:]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    assert rows
    for row in rows:
        (names,) = re.findall("<!--(.*?)-->", row)
        assert names.split()
        assert set(names.split()) <= there


@pytest.mark.slow
def test_the_install_lines_find_all_that_they_need(tmp_path):
    """All extras at once: each alone would be most of it again."""
    source = tmp_path / "zoo"
    source.mkdir()
    for name in ("zoo", "layers", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    target = f".[{','.join(sorted(line.strip('.[]') for line in installed() - {'.'}))}]"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "-c", "constraints.txt", target]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_words_that_readers_stumbled_over_do_not_return():
    words = re.compile(r"\bafresh\b|\bas it went\b|\bMend\b|\bmend it\b|\btaken for\b|\bapart by a comma\b")
    files = [file for folder in ("zoo", "layers", "recipes", "docs") for file in (ROOT / folder).rglob("*.*")]
    for file in [ROOT / "README.md", *files]:
        if file.suffix in (".py", ".md", ".j2", ".js"):
            assert not words.search(file.read_text("utf-8")), file
