"""Lets a checkout without links import `zoo.layers` and `zoo.recipes` from the folders beside `zoo/`.

An installed package has both inside `zoo/`, and a checkout has links there: nothing happens here. Where git or an
archive wrote the links as text files, a finder takes their place.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
from collections.abc import Sequence

_HERE = pathlib.Path(__file__).resolve().parent
_MAPPED = {f"zoo.{name}": _HERE.parent / name for name in ("layers", "recipes")}


class _CheckoutFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        folder = _MAPPED.get(fullname)
        if folder is None or not (folder / "__init__.py").is_file():
            return None
        return importlib.util.spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def folder(name: str) -> pathlib.Path:
    """The folder of the package `zoo.<name>`, installed or in a checkout."""
    inside = _HERE / name
    return inside if inside.is_dir() else _HERE.parent / name


def install() -> None:
    """Puts the finder on `sys.meta_path` where `zoo/` holds no layers."""
    if not (_HERE / "layers").is_dir():
        sys.meta_path.append(_CheckoutFinder())
