"""The order of files: the longest first, so that no worker is left alone with a long one at the end.

`pytest --dist loadfile` would order them by the number of their tests.
"""

LONGEST = (
    "tests/zoo/test_training.py",
    "tests/zoo/test_studies.py",
    "tests/zoo/test_testing.py",
    "tests/zoo/test_segmentation.py",
    "tests/zoo/test_cli.py",
    "tests/zoo/test_text_tasks.py",
    "tests/recipes/test_text_recipes.py",
    "tests/recipes/test_resnet.py",
    "tests/zoo/test_data.py",
    "tests/zoo/test_tables.py",
    "tests/test_packaging.py",
    "tests/test_contributing.py",
    "tests/zoo/test_exporting.py",
    "tests/recipes/test_odenet.py",
    "tests/recipes/test_lenet.py",
    "tests/zoo/test_reporting.py",
)
"""The longest files, the longest first; all others come behind them, as they are found."""


def configure(config):
    if hasattr(config.option, "loadscopereorder"):  # with pytest-xdist
        config.option.loadscopereorder = False


def sort(items, root):
    places = {root / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
