"""Normalization form C (Unicode's annex 15) with stock TensorFlow operations.

Only pieces of a text can change: characters that are no starters, that decompose, or that compose with what stands
before them, together with the one character before. Each different piece is decomposed, ordered and composed once.
"""

import functools
import unicodedata
from collections.abc import Iterable

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.readers.cutting import BREAK, lookup_table

LIMIT = 0x110000
"""Above every code point."""

YOUNGER = "105C9 105E4 11383 11385 1138E 11391 113C5 113C7-113C8 11938 16121-16128 16D68-16D6A"
"""Composed characters that are younger than the tables of the library `tokenizers`, which leaves them as they are."""

ORDERED = """
300-34E 350-36F 483-487 591-5BD 5BF 5C1-5C2 5C4-5C5 5C7 610-61A 64B-65F 670 6D6-6DC 6DF-6E4 6E7-6E8 6EA-6ED 711
730-74A 7EB-7F3 816-819 81B-823 825-827 829-82D 859-85B 8D4-8E1 8E3-8FF 93C 94D 951-954 9BC 9CD A3C A4D ABC ACD B3C
B4D BCD C4D C55-C56 CBC CCD D4D DCA E38-E3A E48-E4B EB8-EB9 EC8-ECB F18-F19 F35 F37 F39 F71-F72 F74 F7A-F7D F80
F82-F84 F86-F87 FC6 1037 1039-103A 108D 135D-135F 1714 1734 17D2 17DD 18A9 1939-193B 1A17-1A18 1A60 1A75-1A7C 1A7F
1AB0-1ABD 1B34 1B44 1B6B-1B73 1BAA-1BAB 1BE6 1BF2-1BF3 1C37 1CD0-1CD2 1CD4-1CE0 1CE2-1CE8 1CED 1CF4 1CF8-1CF9
1DC0-1DF5 1DFB-1DFF 20D0-20DC 20E1 20E5-20F0 2CEF-2CF1 2D7F 2DE0-2DFF 302A-302F 3099-309A A66F A674-A67D A69E-A69F
A6F0-A6F1 A806 A8C4 A8E0-A8F1 A92B-A92D A953 A9B3 A9C0 AAB0 AAB2-AAB4 AAB7-AAB8 AABE-AABF AAC1 AAF6 ABED FB1E
FE20-FE2F 101FD 102E0 10376-1037A 10A0D 10A0F 10A38-10A3A 10A3F 10AE5-10AE6 11046 1107F 110B9-110BA 11100-11102
11133-11134 11173 111C0 111CA 11235-11236 112E9-112EA 1133C 1134D 11366-1136C 11370-11374 11442 11446 114C2-114C3
115BF-115C0 1163F 116B6-116B7 1172B 11C3F 16AF0-16AF4 16B30-16B36 1BC9E 1D165-1D169 1D16D-1D172 1D17B-1D182
1D185-1D18B 1D1AA-1D1AD 1D242-1D244 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E8D0-1E8D6
1E944-1E94A
"""
"""Marks that the library puts in order (of a combining class), which are those of Unicode 9."""


class Composed:
    """Composes texts.

    Attributes:
        tables: the tables that `normalize` looks things up in.
    """

    def __init__(self) -> None:
        decomposed, pairs, classes = _unicode()
        changing = {*classes, *(second for _, second in pairs), *(ord(one) for one in decomposed if _changes(one))}
        inside = _character_class(sorted(changing))
        self._piece = f"[^{inside}]?[{inside}]+"
        self._decomposed = lookup_table(
            [one.encode() for one in decomposed], [one.encode() for one in decomposed.values()], BREAK
        )
        keys = np.array([first * LIMIT + second for first, second in pairs], np.int64)
        self._pairs = lookup_table(keys, [*pairs.values()], -1)
        self._classes = lookup_table(np.array([*classes], np.int64), [*classes.values()], 0)
        self.tables = [self._decomposed, self._pairs, self._classes]

    def normalize(self, texts: Tensor) -> Tensor:
        """UTF-8 (n,) in normalization form C."""
        tf = tensorflow()

        parts = tf.strings.split(tf.strings.regex_replace(texts, self._piece, BREAK + rb"\0" + BREAK), BREAK)
        unique, places = tf.unique(parts.flat_values)
        rows = tf.where(tf.strings.regex_full_match(unique, f"(?s){self._piece}"))  # (m, 1)
        unique = tf.tensor_scatter_nd_update(unique, rows, self._composed(tf.gather_nd(unique, rows)))
        return tf.strings.reduce_join(parts.with_flat_values(tf.gather(unique, places)), axis=1)

    def _composed(self, pieces: Tensor) -> Tensor:
        """Pieces (n,), composed."""
        tf = tensorflow()

        characters = tf.strings.unicode_split(pieces, "UTF-8")
        apart = self._decomposed.lookup(characters.flat_values)
        apart = characters.with_flat_values(tf.where(apart == BREAK, characters.flat_values, apart))
        codes = tf.strings.unicode_decode(tf.strings.reduce_join(apart, axis=1), "UTF-8")  # (n, characters)
        codes = tf.cast(codes, tf.int64)
        classes = self._classes.lookup(codes.flat_values)
        first = tf.concat([[-1], codes.value_rowids()], axis=0)
        begins = (classes == 0) | (first[1:] != first[:-1])
        order = tf.argsort(tf.cumsum(tf.cast(begins, tf.int64)) * 256 + classes, stable=True)
        codes = codes.with_flat_values(tf.gather(codes.flat_values, order)).to_tensor(-1)
        classes = self._classes.lookup(codes)
        count, length = tf.unstack(tf.shape(codes))
        numbers, none = tf.range(count), tf.fill([count], tf.constant(-1, tf.int64))

        def step(place, written, starter, at, last):
            """`last` is the class of the last character that is kept behind the starter, -1 if there is none."""
            code, kind = codes[:, place], classes[:, place]
            pair = tf.where((starter >= 0) & (code >= 0), starter * LIMIT + code, -1)
            joined = tf.where((last < 0) | (last < kind), self._pairs.lookup(pair), -1)
            joins = joined >= 0
            begins = ~joins & (kind == 0)
            where = tf.where(joins, at, place)
            written = tf.tensor_scatter_nd_update(
                written, tf.stack([numbers, where], axis=1), tf.where(joins, joined, code)
            )
            starter = tf.where(joins, joined, tf.where(begins, code, starter))
            at = tf.where(begins, place, at)
            return place + 1, written, starter, at, tf.where(joins, last, tf.where(begins, none, kind))

        state = (0, tf.fill([count, length], tf.constant(-1, tf.int64)), none, tf.fill([count], 0), none)
        _, written, *_ = tf.while_loop(lambda place, *_: place < length, step, state)
        kept = tf.ragged.boolean_mask(tf.cast(written, tf.int32), written >= 0)
        return tf.strings.unicode_encode(kept, "UTF-8")


@functools.cache
def _unicode() -> tuple[dict[str, str], dict[tuple[int, int], int], dict[int, int]]:
    """({character: it, taken apart}, {(code, code): the code of both in one}, {code: combining class}).

    Hangul is composed but not taken apart, which comes to the same.
    """
    decomposed, pairs = {}, {}
    classes = {code: unicodedata.combining(chr(code)) for code in code_points(ORDERED)}
    younger = set(code_points(YOUNGER))
    for code in (*range(0xC0, 0xAC00), *range(0xF900, 0x30000)):
        character = chr(code)
        whole = unicodedata.normalize("NFD", character)
        if whole != character and code not in younger:
            decomposed[character] = whole
            parts = unicodedata.decomposition(character).split()
            if len(parts) == 2 and not _changes(character):
                pairs[int(parts[0], 16), int(parts[1], 16)] = code
    for number, code in enumerate(range(0xAC00, 0xD7A4)):
        last = number % 28
        first = (0x1100 + number // 588, 0x1161 + number % 588 // 28) if not last else (code - last, 0x11A7 + last)
        pairs[first] = code
    return decomposed, pairs, classes


def _changes(character: str) -> bool:
    """Whether a character does not stand in normalization form C."""
    return unicodedata.normalize("NFC", character) != character


def code_points(text: str) -> list[int]:
    """The code points that are written as `ORDERED` is."""
    found: list[int] = []
    for one in text.split():
        first, _, last = one.partition("-")
        found.extend(range(int(first, 16), int(last or first, 16) + 1))
    return found


def _character_class(codes: Iterable[int]) -> str:
    """Code points in ascending order, as RE2 has them inside of a character class."""
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in found)
