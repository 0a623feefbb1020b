"""Where a pretrained source lies on the disk: `hf:OWNER/NAME[@REVISION]`, a folder of a checkpoint, or a file."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
from typing import Any

from zoo import files
from zoo.errors import InputError, install_line
from zoo.weights import gguf
from zoo.weights.tensors import PICKLES, SUFFIXES, files_of

PREFIX = "hf:"

SHIPPED = "zoo:"
"""Before the name of weights that come with the package."""

FOLDER = pathlib.Path(__file__).parents[1] / "pretrained"
"""Where those lie."""

_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

WANTED = (
    "*.json", "*.jinja", "vocab.txt", "vocab.bpe", "merges.txt", "model*.safetensors", "1_Pooling/config.json",
)  # fmt: skip
"""Files of a repository that are fetched."""


@dataclasses.dataclass(frozen=True)
class Located:
    """A pretrained source on the disk.

    Attributes:
        source: as it was named.
        path: the folder, or the file of weights.
        commit: of the repository; None for what is not from the hub.
    """

    source: str
    path: pathlib.Path
    commit: str | None = None

    @property
    def folder(self) -> pathlib.Path:
        """Where config and tokenizer lie: the folder, or the one that the file is in."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def home(self) -> pathlib.Path:
        """What a tokenizer is read from: a GGUF file, which holds its own, or the folder."""
        return self.path if self.path.suffix == gguf.SUFFIX else self.folder

    def config(self) -> dict[str, Any] | None:
        """Returns what config.json says, and under "preprocessor" and "generation" what preprocessor_config.json and
        generation_config.json say; None where a file of weights has no config beside it."""
        if self.path.suffix == gguf.SUFFIX:
            return gguf.open_gguf(self.path).config()
        if not (self.folder / "config.json").is_file():
            if self.path.is_dir():
                raise InputError(f"{self.source} has no config.json: it is not a checkpoint that the zoo reads.")
            return None
        config = _mapping(self.folder / "config.json")
        for name in ("preprocessor", "generation"):
            if (self.folder / f"{name}_config.json").is_file():
                config[name] = _mapping(self.folder / f"{name}_config.json")
        return config

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """{name of a file of weights: its SHA-256}; each file is read for it once.

        Raises: `InputError` where a file in the hub's cache is not the one that the hub has.
        """
        found = {}
        for path in files_of(self.path):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            stored = pathlib.Path(os.path.realpath(path))  # the hub's cache names a large file by its digest
            if self.commit is not None and re.fullmatch(r"[0-9a-f]{64}", stored.name) and stored.name != digest:
                _fetched.cache_clear()
                raise InputError(f"{stored} is damaged: its SHA-256 is {digest}. Delete it, and it is fetched again.")
            found[path.name] = digest
        return found


def _mapping(path: pathlib.Path) -> dict[str, Any]:
    """What a JSON file says, a mapping."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__}.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it is no mapping.")
    return found


def shipped_folder(name: str) -> pathlib.Path:
    """Returns where the weights `zoo:NAME` lie in the package, or would lie."""
    return FOLDER / name.removeprefix(SHIPPED).replace("/", "-")


def is_shipped(source: object) -> bool:
    """Returns whether `source` names weights that come with the package."""
    return isinstance(source, str) and source.startswith(SHIPPED)


def is_source(source: object) -> bool:
    """Returns whether `source` names weights of the package or from elsewhere, and not a run."""
    return is_shipped(source) or is_pretrained(source)


def is_pretrained(source: object) -> bool:
    """Returns whether `source` names weights from elsewhere, and not a run or a file of ours."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = pathlib.Path(source)
    if os.path.isdir(path):  # of a name that no file system takes, it says no
        return (path / "config.json").is_file() and not (path / "run.json").is_file()
    return str(source).startswith(PREFIX) or path.suffix in SUFFIXES + PICKLES


def locate(source: str | os.PathLike[str]) -> Located:
    """Returns where a pretrained source lies, fetched from the hub where it is not on the disk yet.

    Raises: `InputError` where there is none.
    """
    path = pathlib.Path(source)
    if path.exists():
        return Located(str(source), path)
    if not str(source).startswith(PREFIX):
        raise InputError(f"There is no file or folder {source}.")
    found = _NAME.fullmatch(str(source))
    if found is None:
        raise InputError(f"{source} is no name on the hub: hf:OWNER/NAME, or hf:OWNER/NAME@REVISION.")
    folder = _fetched(str(source), found["repo"], found["revision"])
    return Located(str(source), folder, folder.name)


@functools.cache
def _fetched(source: str, repo: str, revision: str | None) -> pathlib.Path:
    """The folder of a repository's files in the hub's cache."""
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError:
        raise InputError(f"{source} needs huggingface_hub: {install_line('hub')}.") from None
    offline = files.offline() or constants.HF_HUB_OFFLINE
    try:
        return pathlib.Path(
            huggingface_hub.snapshot_download(
                repo, revision=revision, allow_patterns=list(WANTED), local_files_only=offline
            )
        )
    except errors.RevisionNotFoundError:
        raise InputError(f"{repo} has no revision {revision} on the hub.") from None
    except errors.GatedRepoError:
        raise InputError(f"{repo} asks for your consent on the hub: give it there, and run hf auth login.") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"There is no repository {repo} on the hub, or it is private.") from None
    except errors.LocalEntryNotFoundError as error:
        response = getattr(error.__cause__, "response", None)
        answered = "cannot be reached" if response is None else f"answered with status {response.status_code}"
        why = "ZOO_OFFLINE or HF_HUB_OFFLINE is set" if offline else f"the hub {answered}"
        raise InputError(f"{source} is not in the hub's cache, and {why}.") from None
    except errors.HFValidationError as error:
        raise InputError(f"{source} is no name on the hub: {error}") from None
    except Exception as error:  # of a connection that breaks, each library of HTTP raises its own
        why = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{source} could not be fetched: {why.rstrip('.')}.") from None
