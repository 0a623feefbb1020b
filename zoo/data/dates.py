"""Dates as people write them, and as ISO 8601 has them: a TensorFlow Datasets builder that needs no network."""

import datetime
import functools
import itertools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from zoo import fields
from zoo.data.options import OptionsBuilder
from zoo.data.source import SPLITS

# fmt: off
LOCALES = (
    "af", "az", "ca", "cs", "da", "de", "en", "en_GB", "es", "et", "eu", "fi", "fr", "ga", "gl", "hr", "hu", "id",
    "is", "it", "lt", "lv", "nb", "nl", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tr",
)
# fmt: on
"""In Latin script."""

WIDTHS = ("medium", "long", "full")
"""CLDR's names of patterns: 5 Mar 2011; 5 March 2011; Saturday, 5 March 2011. Its short ones are all numbers."""

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


class Dates(fields.Declared):
    """What `dates:NAME=VALUE,...` may say."""

    train: int = fields.integer(default=20_000, legal=(1, 60_000), help="number of training texts")
    validation: int = fields.integer(default=1_000, legal=(1, 5_000), help="number of validation texts")
    test: int = fields.integer(default=4_000, legal=(1, 5_000), help="number of test texts")
    seed: int = fields.integer(default=0, legal=(0, 2**31 - 1), help="seed of all texts")


class ZooDates(OptionsBuilder):
    """Dates of 1900 to 2099, written by CLDR's patterns of 33 locales, to ISO 8601: no two texts are of one date.

    Fewer training texts leave those of validation and test as they are.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}
    Options: ClassVar[type[fields.Declared]] = Dates

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"source": tfds.features.Text(), "target": tfds.features.Text()}),
            supervised_keys=("source", "target"),
            homepage="https://cldr.unicode.org",
            license="Unicode License v3",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, str]]]]:
        order = np.random.default_rng(self.options.seed).permutation((LAST - FIRST).days + 1)
        found, start = {}, 0
        for split in ("test", "validation", "train"):
            count = getattr(self.options, split)
            found[split] = self._generate_examples(split, order[start : start + count])
            start += count
        return found

    def _generate_examples(self, split: str, days: np.ndarray) -> Iterator[tuple[int, dict[str, str]]]:
        rng = np.random.default_rng([self.options.seed, SPLITS.index(split)])
        styles = patterns()
        for index, (day, style) in enumerate(zip(days, rng.integers(len(styles), size=len(days)), strict=True)):
            date = FIRST + datetime.timedelta(int(day))
            yield index, {"source": written(date, *styles[style]), "target": date.isoformat()}


def written(date: datetime.date, locale: str, width: str) -> str:
    """`date` in the words of a locale."""
    from babel.dates import format_date

    return format_date(date, width, locale)


@functools.cache
def patterns() -> list[tuple[str, str]]:
    """[(locale, width)] of every pattern but those that are all numbers, whose order a text does not tell."""
    every = itertools.product(LOCALES, WIDTHS)
    return [style for style in every if any(character.isalpha() for character in written(FIRST, *style))]
