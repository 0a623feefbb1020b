"""Maps the folders to packages: the one thing pyproject.toml cannot say."""

from setuptools import find_packages, setup


def mapped(name, folder):
    """The package `name` and its subpackages, which lie in `folder`."""
    return [name] + [f"{name}.{sub}" for sub in find_packages(folder)]


setup(
    packages=mapped("zoo", "zoo") + mapped("zoo.layers", "layers") + mapped("zoo.recipes", "recipes"),
    package_dir={"zoo": "zoo", "zoo.layers": "layers", "zoo.recipes": "recipes"},
    package_data={
        "zoo": ["py.typed", "*.html.j2"],
        "zoo.data": ["english.json.gz", "english-license.txt"],
        "zoo.tuning.report": ["*.html.j2"],
    },
)
