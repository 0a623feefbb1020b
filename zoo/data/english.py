"""English from the documentation of Python: TensorFlow Datasets builders that need no network.

The text is that of CPython 3.11.7's `pydoc_data.topics`, 79 topics, kept in the package because the module differs from
one Python to the next (`english-license.txt`).
"""

import gzip
import json
import pathlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from zoo import fields
from zoo.data.memory_source import stratified
from zoo.data.options import OptionsBuilder
from zoo.data.source import SPLITS

SHORTEST = 300
"""Characters of a topic at least, once paragraphs that another has are taken out."""

HELD_OUT = 0.1
"""The part of all characters, at most, that is of validation, and of test; a longer topic is always of training."""

SECTIONS = 12
"""How many topics, the longest, paragraphs are told apart by."""

PARAGRAPH = 40
"""Characters of a paragraph at least that is told apart."""


class English(fields.Declared):
    """What `english:split=...` may say."""

    split: int = fields.integer(default=0, legal=(0, 2), help="which topics are in validation and test")


class ZooEnglish(OptionsBuilder):
    """Topics of the documentation of Python, a topic an example; no two have a paragraph in common."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "CPython 3.11.7."}
    Options: ClassVar[type[fields.Declared]] = English

    def _info(self) -> tfds.core.DatasetInfo:
        return _info(self, tfds.features.FeaturesDict({"text": tfds.features.Text()}), None)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, str]]]]:
        texts = topics()
        room = dict.fromkeys(("test", "validation"), HELD_OUT * sum(map(len, texts.values())))
        found = {split: {} for split in SPLITS}
        for name in np.random.default_rng(self.options.split).permutation(sorted(texts)).tolist():
            split = next((split for split, left in room.items() if len(texts[name]) <= left), "train")
            if split in room:
                room[split] -= len(texts[name])
            found[split][name] = texts[name]
        return {split: self._generate_examples(kept) for split, kept in found.items()}

    def _generate_examples(self, texts: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
        for name, text in texts.items():
            yield name, {"text": text}


class ZooSections(tfds.core.GeneratorBasedBuilder):
    """Paragraphs of the documentation of Python, and which of its twelve longest topics each is from."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "CPython 3.11.7."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=sections())}
        return _info(self, tfds.features.FeaturesDict(features), ("text", "label"))

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, str]]]]:
        texts = topics()
        pairs = [
            (paragraph, name)
            for name in sections()
            for paragraph in _paragraphs(texts[name])
            if len(paragraph) >= PARAGRAPH
        ]
        rows = stratified(np.array([name for _, name in pairs]))
        return {split: self._generate_examples([pairs[row] for row in chosen]) for split, chosen in rows.items()}

    def _generate_examples(self, pairs: list[tuple[str, str]]) -> Iterator[tuple[int, dict[str, str]]]:
        for index, (text, label) in enumerate(pairs):
            yield index, {"text": text, "label": label}


def topics() -> dict[str, str]:
    """{topic: text} without what they have in common: of a paragraph that several have, the longest keeps it.

    Paragraphs are equal that differ in white space alone. Topics that are short then are left out.
    """
    path = pathlib.Path(__file__).with_name("english.json.gz")
    whole = json.loads(gzip.decompress(path.read_bytes()))
    seen, found = set(), {}
    for name in sorted(whole, key=lambda name: (-len(whole[name]), name)):
        own = []
        for paragraph in _paragraphs(whole[name]):
            key = " ".join(paragraph.split())
            if key not in seen:
                seen.add(key)
                own.append(paragraph)
        text = "\n\n".join(own) + "\n"
        if len(text) >= SHORTEST:
            found[name] = text
    return found


def sections() -> list[str]:
    """The longest topics, by name."""
    texts = topics()
    return sorted(sorted(texts, key=lambda name: (-len(texts[name]), name))[:SECTIONS])


def _paragraphs(text: str) -> list[str]:
    """What lies between empty lines, as it is."""
    return [part.strip("\n") for part in text.split("\n\n") if part.strip()]


def _info(
    builder: tfds.core.DatasetBuilder, features: tfds.features.FeaturesDict, keys: tuple[str, str] | None
) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=builder,
        description=builder.__doc__,
        features=features,
        supervised_keys=keys,
        homepage="https://docs.python.org/3.11/",
        license="PSF-2.0",
    )
