"""How the cells of a column are written: numbers with a decimal comma, in groups or per cent, and ISO dates.

All is read by stock TensorFlow operations, so that training, prediction and the export read a cell alike.
"""

import dataclasses
import re
from collections.abc import Sequence

from zoo.data._tensorflow import Tensor, tensorflow

GROUPS = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f]", "'": "['\u2019]"}
"""Thousands separator -> a pattern of what is typed for it."""

AGREE = 0.9
"""The part of a column's cells, none of them empty, that must be written in one way."""


@dataclasses.dataclass(frozen=True)
class Notation:
    """How numbers are written, but for a plain decimal point.

    Attributes:
        decimal: "." or ",".
        thousands: what stands between groups of three digits: "", ",", ".", " " or "'".
        percent: whether each number ends with a percent sign.
    """

    decimal: str = "."
    thousands: str = ""
    percent: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression, of Python and of RE2, that matches a whole cell."""
        whole = "[0-9]+"
        if self.thousands:
            whole = f"(?:[1-9][0-9]{{0,2}}(?:{GROUPS[self.thousands]}[0-9]{{3}})+|[0-9]+)"
        decimal = re.escape(self.decimal)
        digits = f"(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)"
        return f"[+-]?{digits}(?:[eE][+-]?[0-9]+)?{' ?%' if self.percent else ''}"

    def read(self, cells: Tensor) -> Tensor:
        """Strings (n,) to float64 (n,), NaN where a cell is written otherwise."""
        tf = tensorflow()

        cells = tf.strings.strip(cells)
        plain = tf.strings.regex_replace(cells, " ?%$", "")
        if self.thousands:
            plain = tf.strings.regex_replace(plain, GROUPS[self.thousands], "")
        plain = tf.strings.regex_replace(plain, re.escape(self.decimal), ".")
        good = tf.strings.regex_full_match(cells, self.pattern)
        return tf.strings.to_number(tf.where(good, plain, "nan"), tf.float64)

    def write(self, number: float) -> str:
        """A number as a cell."""
        return repr(float(number)).replace(".", self.decimal) + ("%" if self.percent else "")

    def describe(self) -> str:
        """What is unlike plain numbers, in words; "" where nothing is."""
        separators = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
        said = [
            *(["a decimal comma"] if self.decimal == "," else []),
            *([f"{separators[self.thousands]} between thousands"] if self.thousands else []),
            *(["percent signs"] if self.percent else []),
        ]
        return " and ".join(said)


PLAIN = Notation()


def find(cells: Sequence[str], comma: bool) -> Notation | None:
    """The `Notation` of most `cells`, at least `AGREE` of them; None where they are no numbers.

    Args:
        cells: those of a column that are not empty.
        comma: what `1,234` is where the column does not tell: whether its comma is a decimal one.
    """
    if not cells:
        return None
    percent = sum(cell.endswith("%") for cell in cells) >= AGREE * len(cells)
    order = [(",", ""), (".", ",")] if comma else [(".", ","), (",", "")]
    order += [(",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")]
    best, most = None, 0
    for decimal, thousands in [(".", ""), *order]:
        notation = Notation(decimal, thousands, percent)
        matching = count(notation, cells)
        if matching > most:
            best, most = notation, matching
    return best if most >= AGREE * len(cells) else None


def has_decimal_comma(cells: Sequence[str]) -> bool:
    """Whether `cells`, none of them empty, are numbers whose commas can be nothing but decimal ones."""
    found = [find(cells, comma) for comma in (True, False)]
    return all(one is not None and one.decimal == "," for one in found) and any("," in cell for cell in cells)


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether all `cells`, none of them empty, are numbers of one notation."""
    found = find(cells, comma=True)
    return found is not None and count(found, cells) == len(cells)


def groups_by_points(cells: Sequence[str]) -> bool:
    """Whether every point in `cells` may stand between thousands, and there is one."""
    grouped = Notation(",", ".")
    return any("." in cell for cell in cells) and count(grouped, cells) == len(cells)


def count(notation: Notation, cells: Sequence[str]) -> int:
    """How many `cells` are numbers of `notation`."""
    whole = re.compile(notation.pattern)
    return sum(whole.fullmatch(cell) is not None for cell in cells)


# Dates ----------------------------------------------------------------------------------------------------------------

DAY, WEEK, YEAR = 1.0, 7.0, 365.2425
"""Cycles, in days."""

CYCLES = {DAY: "time of day", WEEK: "day of week", YEAR: "day of year"}

_DATE = "([0-9]{4})-([0-9]{2})-([0-9]{2})"
_TIME = r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]+)?))?"
_ZONE = "(?:Z|([+-])([0-9]{2}):?([0-9]{2})?)?"
_WHOLE = re.compile(f"(?:{_DATE})(?:[T ]{_TIME} ?{_ZONE})?|(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


def are_dates(cells: Sequence[str]) -> bool:
    """Whether `cells`, none of them empty, are dates, times or both as ISO 8601 writes them: `AGREE` of them at least.

    `2024-05-31`, `2024-05-31 14:30`, `2024-05-31T14:30:05.25+02:00` and `14:30` are.
    """
    return bool(cells) and sum(_WHOLE.fullmatch(cell) is not None for cell in cells) >= AGREE * len(cells)


def read_dates(cells: Tensor) -> Tensor:
    """Strings (n,) to days since the start of 1970 in UTC, float64 (n,); NaN where a cell is no date or time.

    A time alone is a part of a day; a date without a time begins; a time without a zone is in UTC.
    """
    tf = tensorflow()

    cells = tf.strings.strip(cells)
    alone = tf.strings.regex_full_match(cells, _TIME)
    cells = tf.where(alone, tf.strings.join(["1970-01-01 ", cells]), cells)
    whole = f"{_DATE}(?:[T ]{_TIME} ?{_ZONE})?"
    good = tf.strings.regex_full_match(cells, whole)
    cells = tf.where(good, cells, "1970-01-01")

    def part(number: int) -> Tensor:
        return tf.strings.regex_replace(cells, f"^{whole}$", rf"\{number}")

    def number(part: Tensor) -> Tensor:
        return tf.strings.to_number(tf.where(part == "", "0", part), tf.int64)

    year, month, day, hour, minute = (number(part(one)) for one in range(1, 6))
    second = tf.strings.to_number(tf.where(part(6) == "", "0", part(6)), tf.float64)
    zone = tf.where(part(7) == "-", -1, 1) * tf.cast(60 * number(part(8)) + number(part(9)), tf.int32)
    after = _days(year + month // 12, month % 12 + 1, tf.ones_like(day))
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= after - _days(year, month, tf.ones_like(day)))
    good &= (hour < 24) & (minute < 60) & (second < 61)
    minutes = tf.cast(60 * hour + minute - tf.cast(zone, tf.int64), tf.float64)
    found = tf.cast(_days(year, month, day), tf.float64) + (minutes + second / 60) / 1440
    return tf.where(good, found, tf.constant(float("nan"), tf.float64))


def _days(year: Tensor, month: Tensor, day: Tensor) -> Tensor:
    """Days since the start of 1970 of a date in the Gregorian calendar, int64; years begin in March within."""
    tf = tensorflow()

    year -= tf.cast(month <= 2, tf.int64)
    in_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + in_year - 719468


def read_cycle(days: Tensor, cycle: float) -> tuple[Tensor, Tensor]:
    """(sine, cosine) of where days (n,) are in a `cycle`; of one longer than a day, whole days count."""
    tf = tensorflow()

    if cycle != DAY:
        days = tf.floor(days)
    angle = 2 * 3.141592653589793 * tf.math.floormod(days, tf.constant(cycle, days.dtype)) / cycle
    return tf.sin(angle), tf.cos(angle)
