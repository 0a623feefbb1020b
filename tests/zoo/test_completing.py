"""Completion in shells: it answers without Keras, and its installation leaves what is not ours alone."""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys

import pytest

from tests.zoo.test_overview import ARTEFACTS
from tests.zoo.test_overview import run_cli as run_cli
from zoo.cli import completing
from zoo.cli.group import zoo as group


@pytest.fixture
def asked(monkeypatch):
    """What bash is answered where a line ends: a list of texts."""

    def ask(line, breaks=" =:"):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_WORDBREAKS", breaks)
        return completing.Bash(group, {}, "zoo", "_ZOO_COMPLETE").complete().splitlines()

    return ask


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_verbs_options_recipes_fields_and_values_are_completed(asked):
    assert asked("zoo ev") == ["evaluate"]
    assert asked("zoo data v") == ["verify"]
    assert set(asked("zoo ")) == set(group.commands)
    assert asked("zoo show lenet --qu") == ["--quiet"]
    assert asked("zoo train len") == ["lenet"]
    assert asked("zoo train lenet/") == ["lenet/5", "lenet/modern"]
    assert asked("zoo train lenet dropo") == ["dropout="]
    assert "dropout=" not in asked("zoo train lenet dropout=0.1 dro")
    assert asked("zoo tune lenet pool=") == ["trainable", "average", "max"]  # bash has cut at the =
    assert asked("zoo tune lenet pool=", breaks=" ") == ["pool=trainable", "pool=average", "pool=max"]
    assert asked("zoo train lenet 'pool=m") == ["max"]
    assert set(asked("zoo train lenet dataset=di")) == {"digits"}
    assert asked("zoo train lenet nope=") == []
    assert asked("zoo train no_such_recipe dropo") == []
    assert asked("zoo trian len") == []


def test_runs_and_files_are_completed(asked, monkeypatch):
    monkeypatch.chdir(ARTEFACTS.parent)
    assert {"artefacts/lenet", "artefacts/study", "artefacts/pretrained/"} <= set(asked("zoo evaluate artefacts/"))
    assert asked("zoo compare artefacts/lenet artefacts/ml") == ["artefacts/mlp"]
    assert asked("zoo train --resume artefacts/lenet dropo") == ["dropout="]
    assert asked("zoo train lenet init_from=artefacts/m") == ["artefacts/mlp/"]
    assert asked("zoo train lenet dataset=folder:arte") == ["artefacts/"]
    assert asked("zoo evaluate nowhere/") == []


@pytest.mark.parametrize("shell", completing.SHELLS)
def test_the_installation_writes_a_file_of_its_own_and_a_marked_block(shell, home, run_cli):
    startup = home / {"bash": ".bashrc", "zsh": ".zshrc", "fish": "config.fish"}[shell]
    startup.write_text("precious")  # without a line feed at its end
    startup.chmod(0o600)
    status, out, err = run_cli("--install-completion", shell)
    assert (status, err) == (0, "")
    written = [path for path in home.rglob("*") if path.is_file() and path != startup]
    assert len(written) == 1
    assert written[0].read_text().startswith(completing.MARK)
    assert f"delete {written[0]}" in out
    block = startup.read_text().removeprefix("precious")
    if shell == "fish":
        assert block == ""
    else:
        begin, line, end = block.strip().splitlines()
        assert begin in out
        assert end in out
        assert str(written[0]) in line
    assert startup.stat().st_mode & 0o777 == 0o600
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert run_cli("--install-completion", shell)[0] == 0
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    written[0].write_text("precious")
    status, _, err = run_cli("--install-completion", shell)
    assert (status, written[0].read_text()) == (2, "precious")
    assert "was not written by zoo" in err


def test_the_shell_of_the_user_is_the_default(home, run_cli, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "zoo.fish" in run_cli("--install-completion")[1]
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    before = sorted(home.rglob("*"))
    assert run_cli("--install-completion")[0] == run_cli("--install-completion", "tcsh")[0] == 2
    assert sorted(home.rglob("*")) == before


@pytest.fixture
def environment(home):
    """That of a shell with an empty home, in which `zoo` cannot import Keras."""
    binary = home / "bin" / "zoo"
    binary.parent.mkdir()
    code = "import sys; sys.modules.update(dict.fromkeys(['keras', 'tensorflow'])); from zoo.cli import main; main()"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    binary.chmod(0o755)
    path = f"{binary.parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(pathlib.Path(__file__).parents[2]), "HOME": str(home)}


@pytest.mark.slow
def test_bash_itself_is_answered_without_keras(environment):
    script = """
zoo --install-completion bash >/dev/null; . "$HOME/.bashrc"
for line in "zoo ev" "zoo train lenet pool=ma" "zoo train lenet dropo"; do
    COMP_LINE=$line COMP_POINT=${#line}; _zoo_completion zoo 2>/dev/null; echo "${COMPREPLY[*]}"
done
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == ["evaluate", "max", "dropout="], done.stderr


@pytest.mark.slow
def test_fish_itself_is_answered(environment):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish")
    script = (
        "zoo --install-completion fish >/dev/null; for line in 'zoo ev' 'zoo train lenet dropo'; complete -C $line; end"
    )
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["evaluate", "dropout="], done.stderr


@pytest.mark.slow
def test_zsh_itself_is_answered_and_leaves_what_goes_on_open(environment):
    """Typed into a zsh, with Tab behind it: Q then stands behind a space, but not behind `=`, `:` or `/`."""
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh")
    setup = """
PS1='> '; autoload -U compinit; compinit -u; zoo --install-completion zsh >/dev/null; source ~/.zshrc; bindkey -e
show() { print; print -r -- "<<$BUFFER>>"; BUFFER=; }; zle -N show; bindkey '^X' show; print -r '<<''ready>>'
"""
    lines = {
        "zoo ev": "zoo evaluate Q",
        "zoo train lenet poo": "zoo train lenet pool=Q",
        "zoo train lenet pool=ma": "zoo train lenet pool=max Q",
        "zoo train lenet dataset=fold": "zoo train lenet dataset=folder:Q",
        "zoo evaluate bi": "zoo evaluate bin/Q",
    }
    terminal, end = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=end, stdout=end, stderr=end, cwd=environment["HOME"], env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(end)
    found, text = [], b""
    try:
        os.write(terminal, setup.encode())
        for line in [None, *lines]:
            if line is not None:
                os.write(terminal, f"{line}\tQ\x18".encode())
            while (said := re.search(rb"\n<<(.*)>>", text)) is None:
                assert select.select([terminal], [], [], 60)[0], text
                text += os.read(terminal, 65536)
            found.append(said[1].decode())
            text = text[said.end() :]
    finally:
        os.close(terminal)
        shell.kill()
        shell.wait()
    assert found == ["ready", *lines.values()]
