"""Names the packages, which pyproject.toml cannot do for a checkout without links.

`zoo/layers` and `zoo/recipes` are links to the folders at the root, so `zoo` holds every package, and `package_dir`
says so: an editable install is then one path, which editors and type checkers follow. Where links came out as text
files (a zip archive, Windows without the right to make links), the folders at the root are mapped instead, and
setuptools installs a finder, which works at run time and is invisible to static tools.
"""

import pathlib

from setuptools import find_packages, setup

LINKED = ("layers", "recipes")


def mapped(name, folder):
    """The package `name` and its subpackages, which lie in `folder`."""
    return [name] + [f"{name}.{sub}" for sub in find_packages(folder)]


packages, package_dir = mapped("zoo", "zoo"), {"": "."}
for name in LINKED:
    if not pathlib.Path("zoo", name).is_dir():
        packages += mapped(f"zoo.{name}", name)
        package_dir[f"zoo.{name}"] = name

setup(
    packages=packages,
    package_dir=package_dir,
    package_data={
        "zoo": ["py.typed", "pretrained/*/*"],
        "zoo.data": ["english.json.gz", "english-license.txt"],
        "zoo.figures": ["*.html.j2"],
        "zoo.overview": ["*.html.j2"],
        "zoo.serving": ["*.html.j2", "*.js", "*.css"],
        "zoo.weights": ["imagenet.txt", "imagenet-license.txt"],
        "zoo.tuning.report": ["*.html.j2"],
    },
)
