"""The tutorials of docs/tutorials do what they say: their files are written, and their commands run, in order."""

import os
import pathlib
import re
import shlex
import sys

import pytest

from tests import warm

ROOT = pathlib.Path(__file__).resolve().parent.parent
TUTORIALS = sorted(path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
BLOCK = re.compile(r"<!-- (file|command): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def test_every_tutorial_has_commands_that_run():
    for name in TUTORIALS:
        kinds = {kind for kind, _, _ in BLOCK.findall((ROOT / "docs" / "tutorials" / f"{name}.md").read_text())}
        assert kinds == {"file", "command"}, name


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_runs_as_it_stands(name, tmp_path):
    blocks = BLOCK.findall((ROOT / "docs" / "tutorials" / f"{name}.md").read_text())
    for kind, file, text in blocks:
        if kind == "file":
            (tmp_path / file).write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for line in (line for kind, _, text in blocks if kind == "command" for line in text.splitlines()):
        verb, *arguments = shlex.split(line)
        assert verb in ("zoo", "python"), line
        command = [sys.executable, *(["-m", "zoo"] if verb == "zoo" else []), *arguments]
        done = warm.run(command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        print(f"$ {line}\n{done.stdout}")
