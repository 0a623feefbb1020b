"""Completion in shells: what can stand on a command line, told in a moment because no Keras is loaded."""

import contextlib
import os
import pathlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class, get_completion_class

from zoo.errors import InputError, RunError

SHELLS = ("bash", "zsh", "fish")

MARK = "# Completion of zoo: written by zoo --install-completion"
"""The first line of each file that is written: by it a file is known to be ours."""

_BEGIN, _END = "# >>> zoo completion >>>", "# <<< zoo completion <<<"

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


# What can stand there -----------------------------------------------------------------------------------------------


def recipes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes; behind a slash their variants; and files with a recipe. With `--resume RUN`, the fields of that run."""
    if context.params.get("resume"):
        return fields(context, parameter, incomplete)
    from zoo import registry
    from zoo.registry.headers import places

    base, slash, _ = incomplete.partition("/")
    found = sorted({name for name, *_ in places()})
    if slash:
        sketch = registry.sketch(base) if base in found else None
        found = [f"{base}/{variant}" for variant in (sketch.variants if sketch else ())]
    return [*_beginning(found, incomplete), *_paths(incomplete, lambda path: path.suffix in (".py", ".yaml", ".yml"))]


def fields(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`field=` of the recipe on the command line, and behind it the values of a choice, a flag, data or a run."""
    sketch = _sketch_of(context)
    if sketch is None:
        return []
    name, equals, text = incomplete.partition("=")
    declared = sketch.fields()
    if not equals:
        taken = {pair.partition("=")[0] for pair in context.params.get("fields") or ()}
        return [
            CompletionItem(f"{name}=", help=field.help)
            for name, field in declared.items()
            if name.startswith(incomplete) and name not in taken
        ]
    if name not in declared:
        return []
    return [
        CompletionItem(f"{name}={item.value}", type=item.type, help=item.help)
        for item in _values(name, declared[name], text)
    ]


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs and studies: those that `train` and `tune` put into `runs` and `studies`, and the way to others."""
    from zoo.runs.run import KIND as RUN
    from zoo.tuning.definition import KIND as STUDY

    found = _paths(incomplete, lambda path: False, (RUN.file, STUDY.file))
    if not incomplete:
        for home in (RUN.home, STUDY.home):
            found += _paths(f"{home}/", lambda path: False, (RUN.file, STUDY.file))
    return found


def _sketch_of(context: click.Context) -> Any:
    """The fields of the recipe, or of the run to resume, that the command line names; None where that is not known."""
    from zoo import registry

    try:
        resume = context.params.get("resume")
        if resume:
            from zoo.runs import Run

            return Run.open(resume).sketch
        recipe = context.params.get("recipe")
        return registry.sketch(recipe) if recipe else None
    except (InputError, OSError):
        return None


def _values(name: str, field: Any, text: str) -> list[CompletionItem]:
    from zoo.fields import show
    from zoo.fields.kinds import Choice, Flag

    if name == "init_from":
        return _paths(text, lambda path: path.suffix in (".safetensors", ".gguf"))
    if name == "dataset":
        from zoo.data.opening import BUILT_IN, TABLES

        form, colon, path = text.partition(":")
        if colon and form in ("folder", "csv", "text"):
            return [
                CompletionItem(f"{form}:{item.value}", type=item.type)
                for item in _paths(path, lambda one: form != "folder")
            ]
        return _beginning([*BUILT_IN, *TABLES, "tfds:", "folder:", "csv:", "text:"], text)
    choices = field.choices if isinstance(field, Choice) else (True, False) if isinstance(field, Flag) else ()
    return _beginning([*map(show, choices), *(["none"] if field.optional and choices else [])], text)


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _paths(
    incomplete: str, wanted: Callable[[pathlib.Path], bool], marks: tuple[str, ...] = ()
) -> list[CompletionItem]:
    """Folders (with a slash, but for those that hold a file of `marks`), and the files that are wanted."""
    head, tail = os.path.split(incomplete)
    found = []
    with contextlib.suppress(OSError, ValueError):
        for entry in sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda one: one.name):
            if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
                continue
            path = os.path.join(head, entry.name)
            if entry.is_dir():
                whole = any(os.path.exists(os.path.join(os.path.expanduser(path), mark)) for mark in marks)
                found.append(CompletionItem(path if whole else f"{path}/"))
            elif wanted(pathlib.Path(path)):
                found.append(CompletionItem(path))
    return found


# Shells -------------------------------------------------------------------------------------------------------------


class Bash(BashComplete):
    """Bash, which cuts words at `=` and `:`, and puts a space behind words that are not finished, such as `pool=`."""

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' reply
    COMPREPLY=()
    while read -r reply; do
        [[ $reply == *[=/:] ]] && compopt -o nospace
        COMPREPLY+=("$reply")
    done < <(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def source(self) -> str:
        """Returns the script; the parent's asks a bash for its version, which we need not know."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """Returns (the words before the cursor, the word at it)."""
        line = os.environ.get("COMP_LINE", "")
        words = _split(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Returns the item without what stands before the cursor and bash's last cut."""
        _, incomplete = self.get_completion_args()
        breaks = os.environ.get("COMP_WORDBREAKS", "=:")
        cut = max((incomplete.rfind(letter) for letter in "=:" if letter in breaks), default=-1)
        return str(item.value)[cut + 1 :]


def _split(line: str) -> list[str]:
    """The words of a line that may end within quotes."""
    for end in ("", '"', "'"):
        with contextlib.suppress(ValueError):
            return shlex.split(line + end)
    return line.split()


class Zsh(ZshComplete):
    """Zsh; the parent's script puts a space behind words that are not finished, such as `pool=`."""

    name = "zsh"
    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response whole open told told_open
    local type key help
    (( ! $+commands[%(prog_name)s] )) && return 1

    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    for type key help in ${response}; do
        if [[ "$type" == "dir" ]]; then
            _path_files -/
        elif [[ "$type" == "file" ]]; then
            _path_files -f
        elif [[ "$help" == "_" ]]; then
            if [[ "$key" == *[=/:] ]]; then open+=("$key"); else whole+=("$key"); fi
        else
            if [[ "$key" == *[=/:] ]]; then told_open+=("$key:$help"); else told+=("$key:$help"); fi
        fi
    done
    (( $#told )) && _describe -V unsorted told -U
    (( $#told_open )) && _describe -V unsorted told_open -U -S ''
    (( $#whole )) && compadd -U -V unsorted -a whole
    (( $#open )) && compadd -U -V unsorted -S '' -a open
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


add_completion_class(Bash)
add_completion_class(Zsh)


# Installation -------------------------------------------------------------------------------------------------------


def install(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    """Writes the completion of a shell, says what was written and how to undo it, and ends the command."""
    if shell is None or context.resilient_parsing:
        return
    for line in _installed(shell if shell != "auto" else _own_shell(), context):
        click.echo(line)
    context.exit()


def _own_shell() -> str:
    shell = pathlib.Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise InputError(
            f"SHELL is {shell or 'not set'}: name one of {', '.join(SHELLS)}, as --install-completion bash."
        )
    return shell


def _installed(shell: str, context: click.Context) -> Iterator[str]:
    made = get_completion_class(shell)
    if made is None:
        raise InputError(f"Completion is for {', '.join(SHELLS)}. Received: {shell}.")
    script = f"{MARK}\n{made(context.command, {}, 'zoo', '_ZOO_COMPLETE').source()}"
    home = pathlib.Path.home()
    if shell == "fish":
        file = pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "fish", "completions", "zoo.fish")
        _write(file, script)
        yield f"Completion written to {file}. A new fish has it. To undo: delete {file}."
        return
    file = pathlib.Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share", "zoo", f"completion.{shell}")
    startup = pathlib.Path(os.environ.get("ZDOTDIR") or home, ".zshrc") if shell == "zsh" else home / ".bashrc"
    _write(file, script)
    added = _append(startup, f"[ -r {shlex.quote(str(file))} ] && . {shlex.quote(str(file))}")
    yield f"Completion written to {file}."
    yield f"{startup} {'reads it, by the lines that were added at its end' if added else 'reads it already'}."
    yield f"A new {shell} has it. To undo: delete {file}, and the lines from {_BEGIN!r} to {_END!r}."


def _write(file: pathlib.Path, script: str) -> None:
    """Writes a file that is ours; one of somebody else stays."""
    from zoo import files

    if file.exists() and not (file.is_file() and file.read_bytes().startswith(MARK.encode())):
        raise InputError(f"{file} exists and was not written by zoo: move it away, then repeat the command.")
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, script)


def _append(startup: pathlib.Path, line: str) -> bool:
    """Adds a marked block at the end of a shell's startup file; returns False where there is one already.

    The file keeps its place, its mode and every byte that was in it.
    """
    before = startup.read_bytes() if startup.exists() else b""
    if f"\n{_BEGIN}\n".encode() in b"\n" + before:
        return False
    gap = "" if not before or before.endswith(b"\n") else "\n"
    try:
        with open(startup, "ab") as file:
            file.write(f"{gap}{_BEGIN}\n{line}\n{_END}\n".encode())
    except OSError as error:
        raise RunError(f"{startup} cannot be written: {error.strerror}.") from error
    return True
