"""Lets a checkout that is not installed import `zoo.layers` and `zoo.recipes` from the folders beside `zoo/`.

An installed package has both inside `zoo/`, and nothing happens here.
"""

import importlib.abc
import importlib.util
import pathlib
import sys

_HERE = pathlib.Path(__file__).resolve().parent
_MAPPED = {f"zoo.{name}": _HERE.parent / name for name in ("layers", "recipes")}


class _CheckoutFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        folder = _MAPPED.get(fullname)
        if folder is None or not (folder / "__init__.py").is_file():
            return None
        return importlib.util.spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def folder(name):
    """The folder of the package `zoo.<name>`, installed or in a checkout."""
    inside = _HERE / name
    return inside if inside.is_dir() else _HERE.parent / name


def install():
    if not (_HERE / "layers").is_dir():
        sys.meta_path.append(_CheckoutFinder())
