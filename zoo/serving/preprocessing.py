"""`script`: the file `preprocess.py` beside an ONNX or LiteRT model, which makes the model's input of raw input.

It needs NumPy, and for images Pillow, and has only the lines that its reader needs.
"""

import re
from typing import Any

import numpy as np

from zoo.data.table_source import GAPS
from zoo.readers.images import ImageReader
from zoo.readers.masks import MaskReader
from zoo.readers.notation import DAY, GROUPS
from zoo.readers.resizing import covering
from zoo.readers.table_columns import WHOLE, dtype_of
from zoo.readers.tables import TableReader

FILE = "preprocess.py"


def script(reader: Any, model: str, name: str) -> str | None:
    """Returns the text of `preprocess.py`; None for a reader of one's own, which only its owner can write down.

    Args:
        reader: what reads raw inputs.
        model: the name of the file that the script is for, such as "model.onnx".
        name: the name of the model's input.
    """
    if type(reader) is TableReader:
        return _of_tables(reader, model, name)
    if type(reader) in (ImageReader, MaskReader):
        return _of_images(reader, model, name)
    return None


# Images ---------------------------------------------------------------------------------------------------------------

_IMAGES = '''"""Reads image files for {model}. Needs NumPy and Pillow.

    {name} = preprocess({files})  # float32 {shape}, pixels from 0 to 255

{said}
"""

import numpy as np
from PIL import Image, ImageOps


def preprocess(*files):
    return np.stack([read(file) for file in files]).astype("float32")


def read(file):
    picture = Image.open(file)
    if picture.format in ("JPEG", "MPO", "TIFF"):
        picture = ImageOps.exif_transpose(picture)  # upright
    if picture.mode.startswith("I"):  # grey, of 16 bits
        values = np.asarray(picture).astype("int64")
        picture = Image.fromarray(({to_8_bits}).astype("uint8"))
'''

_GREY = """
    grey = picture.mode in ("1", "L", "LA")
    pixels = np.asarray(picture.convert("L" if grey else "RGB"), "float32")
    if not grey:
        pixels = (pixels * np.float32([0.299, 0.587, 0.114])).sum(-1)
"""

_BILINEAR = '''

def weights(before, after):
    """(after, before): how much each pixel of an edge counts for each pixel of the resized edge, antialiased."""
    scale = before / after
    far = np.arange(before) + 0.5 - (np.arange(after)[:, None] + 0.5) * scale
    found = np.maximum(1 - abs(far) / max(scale, 1), 0)
    return found / found.sum(1, keepdims=True)
'''


def _of_images(reader: ImageReader, model: str, name: str) -> str:
    height, width, channels = reader.image_shape
    masks = isinstance(reader, MaskReader)
    said = "Each file is a path, or an open file. Transparency is dropped."
    if masks:
        said += " Files that are asked together are of one size."
    if reader.bits is not None:
        said += "\nOf a colour PNG of 16 bits Pillow reads the upper byte alone, which is not what training read."
    white = None if reader.bits is None else 2**reader.bits - 1
    text = _IMAGES.format(
        model=model,
        name=name,
        files='"one.png"' if masks else '"one.png", "two.jpg"',
        shape=f"(1, height, width, {channels})" if masks else f"(2, {height}, {width}, {channels})",
        said=said,
        to_8_bits="values // 256" if white is None else f"(510 * np.minimum(values, {white}) + {white}) // {2 * white}",
    )
    if channels == 1:
        text += _GREY.lstrip("\n")
    if masks:
        return text + _left_as_they_are(channels, reader.margin)
    if reader.resize == "stretch" and reader.interpolation == "bilinear":
        text += "    pixels = pixels[..., None]\n" if channels == 1 else _colours()
        text += f"    rows = np.tensordot(weights(pixels.shape[0], {height}), pixels, 1)\n"
        return text + f"    return np.rint(weights(pixels.shape[1], {width}) @ rows)\n" + _BILINEAR
    return text + _resized_by_pillow(reader)


def _colours() -> str:
    return '    pixels = np.asarray(picture.convert("RGB"), "float32")\n'


def _left_as_they_are(channels: int, margin: int) -> str:
    """The end of `read` where images keep their size; beyond a `margin` they are mirrored, as the network answers."""
    text = "    pixels = np.rint(pixels)[..., None]\n" if channels == 1 else _colours()
    if not margin:
        return text + "    return pixels\n"
    around = f"({margin}, {margin})"
    return text + f'    return np.pad(pixels, ({around}, {around}, (0, 0)), "reflect")\n'


def _resized_by_pillow(reader: ImageReader) -> str:
    """The end of `read` where images are resized in two rounded passes, columns first."""
    height, width, channels = reader.image_shape
    method = f"Image.Resampling.{reader.interpolation.upper()}"
    if channels == 1:
        lines = ['picture = Image.fromarray(np.rint(pixels).astype("uint8"))']
    else:
        lines = ['picture = picture.convert("RGB")']
    if reader.resize == "crop":
        tall, wide = covering(reader.image_shape, reader.crop_fraction)
        lines += [
            f"if picture.height * {wide} <= picture.width * {tall}:",
            f"    tall, wide = {tall}, picture.width * {tall} // picture.height",
            "else:",
            f"    tall, wide = picture.height * {wide} // picture.width, {wide}",
        ]
    else:
        lines.append(f"tall, wide = {height}, {width}")
    lines += [
        f"picture = picture.resize((wide, picture.height), {method})",
        f"picture = picture.resize((wide, tall), {method})",
    ]
    if reader.resize == "crop":
        lines += [
            f"left, top = round((wide - {width}) / 2), round((tall - {height}) / 2)",
            f"picture = picture.crop((left, top, left + {width}, top + {height}))",
        ]
    lines.append(f"return np.asarray(picture).reshape({height}, {width}, {channels})")
    return "".join(f"    {line}\n" for line in lines)


# Tables ---------------------------------------------------------------------------------------------------------------

_TABLES = '''"""Reads rows for {model}. Needs NumPy.

    {name} = preprocess({{{example}}})  # float32 (1, {width})

A row is a mapping from columns to cells, which are numbers, or text as in the training data. Of a CSV file:
preprocess(*csv.DictReader(open("new.csv", newline="")))
"""

{imports}
import numpy as np

COLUMNS = [
{columns}]
GAPS = {gaps}


def preprocess(*rows):
    return np.array([[x for column in COLUMNS for x in read(row[column["name"]], column)] for row in rows], "float32")


def read(cell, column):
    text = "" if cell is None or cell != cell else str(cell).strip()
'''

_PLAIN = re.compile(r"[\w .,:'()-]{1,60}")
"""A cell that a comment can show."""

_CATEGORIES = """    if "values" in column:
        whole = isinstance(cell, float) or column["whole"]
        text = text.partition(".")[0] if whole and re.fullmatch(r"{whole}", text) else text
        return [float(text == value) for value in column["values"]]
"""

_NUMBERS = """    if text.lower() in GAPS:
        number = math.nan
"""

_DATES = """    elif "cycles" in column:
        number = days(text)
"""

_NOTATION = """    elif "notation" in column and isinstance(cell, str):
        groups, decimal = column["notation"]
        number = float(re.sub(groups, "", text.rstrip("%")).replace(decimal, "."))
"""

_SCALED = """    else:
        number = float(cell)
    there = math.isfinite(number)
    number = np.dtype(column["dtype"]).type(number)
    found = [(float(number) - column["mean"]) / column["deviation"] if there else 0.0]
    found += [float(not there)] * column["gaps"]
"""

_CYCLES = """    for cycle in column.get("cycles", ()):
        angle = 2 * math.pi * ((number if cycle == {day} else math.floor(number)) % cycle) / cycle if there else None
        found += [math.sin(angle), math.cos(angle)] if there else [0.0, 0.0]
"""

_DAYS = '''

def days(text):
    """Days since the start of 1970 in UTC; a time alone is a part of a day."""
    text = re.sub(" (?=[-+Z])", "", f"1970-01-01 {text}" if re.match("[0-9]{2}:", text) else text)
    moment = datetime.datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / datetime.timedelta(days=1)
'''


def _of_tables(reader: TableReader, model: str, name: str) -> str:
    columns = reader.columns
    texts, dates, notations = (any(key in column for column in columns) for key in ("values", "cycles", "notation"))
    modules = {"datetime": dates, "math": True, "re": texts or dates or notations}
    shown = [_PLAIN.fullmatch(one) and one for one in map(_shown, columns)]
    text = _TABLES.format(
        model=model,
        name=name,
        example=", ".join([*(one for one in shown[:2] if one), *(["..."] if len(columns) > 2 else [])]),
        width=reader.width,
        imports="".join(f"import {module}\n" for module, used in modules.items() if used),
        columns="".join(f"    {_written(column)!r},\n" for column in columns),
        gaps=GAPS,
    )
    text += _CATEGORIES.format(whole=WHOLE) if texts else ""
    if all("values" in column for column in columns):
        return text
    text += _NUMBERS + (_DATES if dates else "") + (_NOTATION if notations else "") + _SCALED
    text += _CYCLES.format(day=DAY) if dates else ""
    return text + "    return found\n" + (_DAYS if dates else "")


def _shown(column: dict[str, Any]) -> str:
    """A cell as an example: `"city": "Bern"`."""
    if "values" in column:
        return f"{column['name']!r}: {next(iter(column['values']), '')!r}"
    return f"{column['name']!r}: {'2024-05-31' if 'cycles' in column else round(column['mean'], 2)!r}"


def _written(column: dict[str, Any]) -> dict[str, Any]:
    """What the script has to know of a column."""
    if "values" in column:
        return {"name": column["name"], "values": list(column["values"]), "whole": bool(column.get("whole"))}
    kind = dtype_of(column)
    found = {"name": column["name"], "mean": float(np.array(column["mean"], kind)), "deviation": column["deviation"]}
    found |= {"gaps": int(column["gaps"]), "dtype": kind}
    if "cycles" in column:
        return {**found, "cycles": list(column["cycles"])}
    if "notation" in column:
        notation = column["notation"]
        groups = GROUPS.get(notation.get("thousands", ""), "")
        return {**found, "notation": (groups, notation.get("decimal", "."))}
    return found
