"""Images as they come: of 16 bits, on their side, of every kind, and the odd ones among them."""

import functools
import io
import json

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

import zoo
from zoo.data import open_source, pictures, pipeline
from zoo.data.source import Image, Source
from zoo.errors import InputError
from zoo.readers.images import ImageReader
from zoo.readers.masks import MaskReader
from zoo.registry import open_recipe

RNG = np.random.default_rng(0)

EXACT = "INTEGER_ACCURATE"
"""How JPEG files are decoded: to the pixels of Pillow."""


# 16 bits ----------------------------------------------------------------------------------------------------------


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def expected(pixels, bits):
    """What 16-bit pixels are in 8 bits, in exact arithmetic: 2^bits - 1 is white; without `bits`, the upper byte."""
    if bits is None:
        return (pixels >> 8).astype("uint8")
    white = 2**bits - 1
    return np.array([round(255 * min(int(v), white) / white) for v in pixels.flat], "uint8").reshape(pixels.shape)


@pytest.mark.parametrize("bits", [None, *range(8, 17)])
def test_16_bits_are_scaled_by_those_that_count(bits):
    values = np.arange(2**16, dtype="uint16").reshape(256, 256, 1)
    np.testing.assert_array_equal(pictures.to_8_bits(values, bits), expected(values, bits))


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (88, 8), (255, 8), (256, 9), (1408, 11), (4095, 12), (2**15, 16)]
)
def test_the_bits_that_count_are_the_fewest_that_hold_the_largest(largest, bits):
    assert pictures.bits_of([None, 0, largest]) == bits
    assert pictures.bits_of([None]) is None
    (note,) = pictures.note_of_bits(bits, [None, largest]) or ("",)
    assert (f"{largest:,}: {2**bits - 1:,} is read as white" in note) == (bits < 16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [None, 11])
def test_16_bits_are_read_alike_from_a_file_bytes_and_arrays(channels, bits, tmp_path):
    pixels = RNG.integers(0, 3000, (7, 5, channels)).astype("uint16")
    (tmp_path / "deep.png").write_bytes(png(pixels))
    (tmp_path / "flat.png").write_bytes(png((pixels % 256).astype("uint8")))
    reader = MaskReader((7, 5, min(channels, 3) // 3 * 2 + 1), ["a", "b"], bits=bits)
    for name, by_array in (("deep.png", pixels), ("flat.png", (pixels % 256).astype("uint8"))):
        eight = expected(by_array, bits) if by_array.dtype == np.uint16 else by_array
        for read in (
            reader.read_raw([tmp_path / name])[1][0],
            reader.read_raw([by_array])[1][0],
            np.asarray(reader.read_bytes(tf.constant([(tmp_path / name).read_bytes()])))[0],
        ):
            np.testing.assert_array_equal(read, np.asarray(reader.fit_images(eight)))


def test_the_bits_that_count_are_kept_in_the_reader(tmp_path):
    for reader in (ImageReader((8, 8, 1), "ab", bits=np.int64(11)), MaskReader((8, 8, 1), "ab", 2, bits=9)):
        keras.saving.save_model(reader, tmp_path / "reader.keras")
        assert keras.saving.load_model(tmp_path / "reader.keras").bits == reader.bits
        config = reader.get_config()
        del config["bits"]  # as readers were saved before they knew of 16 bits
        assert type(reader).from_config(config).bits is None
    for wrong in (7, 17, True, 8.5):
        with pytest.raises(InputError, match="bits must be a whole number"):
            ImageReader((8, 8, 1), "ab", bits=wrong)


def splits_of_classes(root, writes):
    """A folder with splits of its own: `writes(path without ending, class, split)` for 8 files of each."""
    for split in ("train", "validation"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(4):
                writes(root / split / label / str(number), label, split)
    return f"folder:{root}"


@pytest.mark.parametrize(("mixed", "streamed"), [(False, False), (True, True)])
def test_a_folder_of_16_bits_is_read_as_its_reader_reads(mixed, streamed, tmp_path, monkeypatch):
    if streamed:
        monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    kept = {}

    def write(path, label, split):
        number = int(path.name)
        pixels = RNG.integers(64, 1409 if split == "train" else 4000, (17, 16)).astype("uint16")
        if mixed and number == 0:
            pixels = (pixels % 256).astype("uint8")
        kept[(split, label, number)] = pixels[..., None]
        if number == 1:
            PIL.Image.fromarray(pixels).save(path.with_suffix(".tif"))
        else:
            path.with_suffix(".png").write_bytes(png(pixels[..., None]))

    recipe, source = open_recipe("lenet", {"dataset": splits_of_classes(tmp_path, write), "input_shape": (17, 16, 1)})
    assert source.features["image"] == Image(1, 11)
    brighter = sum(pixels.max() > 2047 for (split, *_), pixels in kept.items() if split == "validation")
    largest = max(pixels.max() for (split, *_), pixels in kept.items() if split == "train")
    assert source.notes == (
        f"16-bit images whose largest value is {largest:,}: 2,047 is read as white, and so is what is above in "
        f"{brighter} outside of the training split",
    )
    reader = recipe.make_reader(source)
    preparation = recipe.make_preparation(reader, source)
    data = pipeline.evaluation(source, "validation", preparation, batch_size=3)
    images = np.concatenate([np.asarray(images) for images, _ in data])
    wanted = [pixels for (split, *_), pixels in sorted(kept.items()) if split == "validation"]
    wanted = [expected(one, 11) if one.dtype == np.uint16 else one for one in wanted]
    np.testing.assert_array_equal(images, wanted)
    files = sorted((tmp_path / "validation").rglob("*.*"))
    np.testing.assert_array_equal(reader.read_raw(files)[1], wanted)
    probe = recipe.make_probe(reader, source.samples("validation", 4))  # what an export is verified on
    np.testing.assert_array_equal(probe["serve_tensors/images"], wanted[:4])
    np.testing.assert_array_equal(
        reader.read_bytes(tf.constant(list(probe["serving_default/image_bytes"]))), wanted[:4]
    )
    np.testing.assert_array_equal(probe["serve_images/images"], wanted[:4])
    old = ImageReader(reader.image_shape, reader.labels)  # of a run that was trained when 16 bits were cut
    preparation = recipe.make_preparation(old, source)
    data = pipeline.evaluation(source, "validation", preparation, batch_size=8)
    cut = [one >> 8 if one.dtype == np.uint16 else one for _, one in sorted(kept.items())[8:]]
    np.testing.assert_array_equal(next(iter(data))[0], cut)


def test_arrays_of_16_bits_are_read_as_files_of_them():
    images = RNG.integers(3, 89, (40, 17, 16)).astype("uint16")
    more = RNG.integers(3, 600, (8, 17, 16)).astype("uint16")
    data = {"train": (images, np.arange(40) % 2), "validation": (more, np.arange(8) % 2)}
    recipe, source = open_recipe("lenet", {"dataset": data, "input_shape": (17, 16, 1)})
    assert source.features["image"].bits == 8
    assert source.notes[0].startswith(f"16-bit images whose largest value is {images.max()}: 255 is read as white, and")
    reader = recipe.make_reader(source)
    preparation = recipe.make_preparation(reader, source)
    read = next(iter(pipeline.evaluation(source, "validation", preparation, batch_size=8)))[0]
    np.testing.assert_array_equal(read, np.minimum(more, 255)[..., None])
    np.testing.assert_array_equal(reader.read_raw(list(more))[1], read)


def test_colours_become_grey_as_pillow_makes_them():
    pixels = RNG.integers(0, 256, (9, 8, 3)).astype("uint8")
    grey = ImageReader((9, 8, 1), "ab").fit_images(pixels).numpy()[..., 0].astype(int)
    assert np.abs(grey - np.asarray(PIL.Image.fromarray(pixels).convert("L"))).max() <= 1


def test_16_bits_of_which_one_is_colour_or_has_white_as_0_are_refused_as_tiff(tmp_path):
    pixels = np.full((4, 4), 300, "uint16")
    PIL.Image.fromarray(pixels).save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    with pytest.raises(InputError, match=r"inverted\.tif is not a whole image .*of 16 bits, save it as PNG"):
        ImageReader((4, 4, 1), "ab").read_raw([tmp_path / "inverted.tif"])


# Upright ----------------------------------------------------------------------------------------------------------


def encoded(pixels, kind="JPEG", orientation=None, order="<", **options):
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[0x010F] = "a camera"  # an entry before the orientation, whose value lies outside of its directory
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, exif=exif.tobytes() if kind == "JPEG" else exif, **options)
    return file.getvalue()


def upright(data, pixels=None):
    """What Pillow makes of a file; with the pixels as another library decodes them, where these are given."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        if pixels is not None:
            info, image = image.info, PIL.Image.fromarray(pixels)
            image.info.update(info)
        return np.asarray(PIL.ImageOps.exif_transpose(image))


@functools.cache
def graph_of_decode():
    return tf.function(pictures.decode, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_a_jpeg_is_turned_as_pillow_turns_it(orientation, order):
    pixels = RNG.integers(0, 256, (2, 3, 3), "uint8").repeat(16, axis=0).repeat(16, axis=1)
    data = encoded(pixels, orientation=orientation, order=order)
    found = pictures.read(data)
    assert found.turned == (orientation in range(2, 9))
    np.testing.assert_array_equal(found.pixels, upright(data, tf.io.decode_jpeg(data, dct_method=EXACT).numpy()))
    np.testing.assert_array_equal(graph_of_decode()(data), found.pixels)
    np.testing.assert_array_equal(ImageReader((48, 48, 3), "ab").decode(data), found.pixels)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "1"])
def test_a_tiff_is_turned_as_pillow_turns_it(kind, orientation):
    pixels = (RNG.integers(0, 2, (5, 7)) * 200).astype("uint16" if kind == "uint16" else "uint8")
    image = PIL.Image.fromarray(pixels)
    file = io.BytesIO()
    tags = {} if orientation is None else {"tiffinfo": {274: orientation}}
    (image.convert("1") if kind == "1" else image).save(file, "TIFF", **tags)
    found = pictures.read(file.getvalue())
    assert (found.pillow, found.turned) == (True, orientation in range(2, 9))
    turns = {2: 2, 3: 3, 4: 4}
    assert found.pixels.shape[:2] == ((5, 7) if orientation in (None, 1, *turns) else (7, 5))
    wanted = upright(file.getvalue())
    np.testing.assert_array_equal(found.pixels[..., 0], wanted * 255 if kind == "1" else wanted)


def exif_block(body):
    return b"\xff\xe1" + (len(body) + 8).to_bytes(2, "big") + b"Exif\0\0" + body


@pytest.mark.parametrize("body", [
    b"", b"II", b"II*\0",
    b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08", b"MM\0*\0\0\0\x08\0\x01", b"XX*\0\x08\0\0\0\1\0",
    b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\0\0\0\x01\0", b"II*\0\0\0\0\0" + bytes(40),
])  # fmt: skip
@pytest.mark.parametrize("before", [b"", b"\xff\xe0\0\x04JF", b"\xff\xff\xff\xfe\0\x02", b"\xff\xe1\0\x0cExif\0\1more"])
def test_an_exif_block_that_is_damaged_turns_nothing(body, before):
    plain = encoded(RNG.integers(0, 256, (8, 16, 3), "uint8"))
    data = plain[:2] + before + exif_block(body) + plain[2:]
    np.testing.assert_array_equal(graph_of_decode()(data), tf.io.decode_jpeg(plain, dct_method=EXACT))


@pytest.mark.parametrize("before", [b"", b"\xff\xe0\0\x04JF", b"\xff\xff\xff\xfe\0\x02", b"\xff\xe1\0\x0cExif\0\1more"])
def test_an_exif_block_is_found_behind_others(before):
    plain = encoded(RNG.integers(0, 256, (8, 16, 3), "uint8"))
    body = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4)
    data = plain[:2] + before + exif_block(body) + plain[2:]
    assert graph_of_decode()(data).shape == (16, 8, 3)


def test_what_only_looks_like_an_exif_block_turns_nothing():
    plain = encoded(RNG.integers(0, 256, (8, 16, 3), "uint8"))
    body = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4)
    comment = b"\xff\xfe" + (len(exif_block(body)) + 2).to_bytes(2, "big") + exif_block(body)
    for data in (plain[:2] + comment + plain[2:], plain + exif_block(body)):
        np.testing.assert_array_equal(graph_of_decode()(data), tf.io.decode_jpeg(plain, dct_method=EXACT))


def test_masks_are_of_the_upright_image(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(12):
        mask = RNG.integers(0, 2, (2, 3)).astype("uint8").repeat(16, axis=0).repeat(16, axis=1)
        lying = np.rot90(mask * 200, 1)  # orientation 6: turned clockwise to be upright
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encoded(lying, orientation=6, quality=100))
        PIL.Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    source = open_source(f"folder:{tmp_path}")
    assert "12 images turned upright by the EXIF orientation" in source.notes
    for one in source.examples("train").as_numpy_iterator():
        np.testing.assert_array_equal(one["image"][..., 0] > 100, one["mask"] == 1)
    PIL.Image.fromarray(np.zeros((48, 32), "uint8")).save(tmp_path / "masks" / "3.png")
    with pytest.raises(InputError, match=r"3\.png is 48 x 32 and its image, turned upright by its EXIF .*, 32 x 48"):
        open_source(f"folder:{tmp_path}")


@pytest.mark.slow  # it writes an export
@pytest.mark.parametrize("name", ["lenet", "unet"])
def test_an_export_reads_16_bits_and_orientations_as_predict_does(name, tmp_path):
    small = {"filters": 4, "depth": 2} if name == "unet" else {}
    model = zoo.build(name, input_shape=(32, 32, 1), classes=2, **small)
    model.reader = (MaskReader if name == "unet" else ImageReader)((32, 32, 1), "ab", bits=11)
    zoo.export(model, tmp_path / "export")
    assert json.loads((tmp_path / "export" / "signature.json").read_text())["white of 16 bits"] == 2047
    asked = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    files = [png(RNG.integers(64, 3000, (24, 40, 1)).astype("uint16")), png(RNG.integers(0, 256, (24, 40, 3), "uint8"))]
    pixels = RNG.integers(0, 256, (24, 40, 3), "uint8")
    files += [encoded(pixels if turn < 5 else pixels.swapaxes(0, 1), orientation=turn) for turn in range(1, 9)]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.any").write_bytes(data)
    _, tensors = model.reader.read_raw([tmp_path / f"{number}.any" for number in range(len(files))])
    answers = asked(image_bytes=tf.constant(files))
    expected = model.predict_on_batch(np.stack(tensors).astype("float32"))
    np.testing.assert_allclose(answers["logits"], expected, atol=1e-5)
    assert len({tensor.tobytes() for tensor in tensors}) == len(files)


# Lengths ----------------------------------------------------------------------------------------------------------


class Streamed(Source):
    """Another source, of which only a stream is known."""

    def __init__(self, source):
        self._source = source
        self.name, self.fingerprint = source.name, source.fingerprint
        self.features, self.sizes = source.features, source.sizes

    def examples(self, split):
        return self._source.examples(split)


@pytest.mark.parametrize(("name", "kind"), [
    ("lenet", "random access"), ("unet", "held"), ("unet", "random access"), ("unet", "stream")
])  # fmt: skip
def test_batches_say_how_many_they_are(name, kind, tmp_path, monkeypatch):
    """Else Keras warns at the end of a pass that the input ran out of data."""
    places = ("images", "masks") if name == "unet" else ("a", "b")
    for place in places:
        (tmp_path / place).mkdir()
        for number in range(12):
            pixels = RNG.integers(0, 2, (90, 70) if number % 3 else (70, 90 + number)).astype("uint8")
            PIL.Image.fromarray(np.roll(pixels, 1)).save(tmp_path / place / f"{number}.png")
    if kind != "held":
        monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    recipe, source = open_recipe(name, {"dataset": f"folder:{tmp_path}"})
    source = Streamed(source) if kind == "stream" else source
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    data = pipeline.evaluation(source, "train", preparation, batch_size=3)
    assert data.cardinality() == sum(1 for _ in data)


# Everything at once -----------------------------------------------------------------------------------------------


def oddities(root):
    """One of each odd file, in the class `odd`; 8 ordinary ones beside them and in the class `even`."""
    for place in ("odd", "even", "odd/.hidden"):
        (root / place).mkdir(parents=True)
    pixels = RNG.integers(0, 256, (12, 10, 3), "uint8")
    for place in ("odd", "even"):
        for number in range(8):
            (root / place / f"{number}.png").write_bytes(png(pixels))
    odd = root / "odd"
    (odd / "deep.png").write_bytes(png(RNG.integers(64, 1409, (12, 10, 1)).astype("uint16")))
    (odd / "phone.jpg").write_bytes(encoded(pixels, orientation=6))
    PIL.Image.fromarray(pixels).convert("CMYK").save(odd / "print.jpg")
    PIL.Image.fromarray(pixels).quantize(16).save(odd / "palette.png")
    frames = [PIL.Image.fromarray(np.full_like(pixels, value)) for value in (0, 255)]
    frames[0].save(odd / "animated.gif", save_all=True, append_images=frames[1:])
    PIL.Image.fromarray(pixels).save(odd / "scan.tiff")
    (odd / "half.jpg").write_bytes(encoded(pixels)[:-200])
    (odd / "empty.png").write_bytes(b"")
    (odd / "text.jpg").write_text("hello")
    (odd / ".hidden" / "hidden.png").write_bytes(png(pixels))
    (odd / "CAPITAL.PNG").write_bytes(png(pixels))
    (odd / "readme.txt").write_text("hello")
    return f"folder:{root}"


def test_what_is_odd_in_a_folder_is_counted_and_kept_in_the_run(tmp_path):
    import types

    from zoo.devices import Resolved
    from zoo.runs import Run

    name = oddities(tmp_path / "odd")
    with pytest.raises(InputError, match=r"empty\.png \(and 2 more\) is not a readable image .*--skip-bad"):
        open_source(name)
    recipe, source = open_recipe("lenet", {"dataset": name}, skip_bad=True)
    assert (
        sum(source.sizes.values()) == 8 + 8 + 7
    )  # and of the odd ones: deep, phone, print, palette, GIF, TIFF, CAPITAL
    assert "3 unreadable images left out" in source.notes
    assert "left out 1 file that is no image: odd/readme.txt" in source.notes
    assert "1 image turned upright by the EXIF orientation" in source.notes
    read = [one for split in source.sizes for one in source.examples(split).as_numpy_iterator()]
    assert sum(int(one["label"]) for one in read) == 15
    assert {one["image"].shape[:2] for one in read} == {(12, 10), (10, 12)}
    deep = [split for split in source.sizes for one in source.examples(split) if one.get("deep", False)]
    assert len(deep) == 1
    assert deep == ["train"]
    assert any("2,047 is read as white" in note for note in source.notes)
    plan = types.SimpleNamespace(steps_per_epoch=1, device=Resolved("tensorflow", "cpu", "float32", "auto"))
    run = Run.create(tmp_path / "run", recipe, source, plan)
    assert run.facts["data"]["notes"] == list(source.notes)
