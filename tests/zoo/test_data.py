"""Sources, pipelines and augmentation."""

import io
import math
import pathlib
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import zoo
from zoo import files
from zoo.data import open_source, pipeline, tfds_source
from zoo.data.augment import Augmentation
from zoo.data.memory_source import part_of
from zoo.data.opening import name_of
from zoo.data.pictures import decode, read
from zoo.errors import InputError
from zoo.readers.images import ImageReader
from zoo.registry import open_recipe


def batches(recipe, source, *, epochs=1, told=False, batch_size=None):
    """[[(images, labels), ...] an epoch]: of one pass each, or (`told`) of one pass over all of them."""
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    size = batch_size or recipe.batch_size
    span = range(epochs) if told else None
    data = pipeline.training(source, preparation, batch_size=size, seed=recipe.seed, epochs=span)

    def one_pass():
        return [tuple(np.asarray(part) for part in batch) for batch in data]

    if not told:
        return [one_pass() for _ in range(epochs)]
    found, steps = one_pass(), pipeline.steps_per_epoch(source, preparation, size)
    assert len(found) == steps * epochs == len(data)
    return [found[epoch * steps : (epoch + 1) * steps] for epoch in range(epochs)]


def evaluation(recipe, source, split, batch_size):
    """[(images, labels), ...]."""
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    data = pipeline.evaluation(source, split, preparation, batch_size=batch_size)
    return [tuple(np.asarray(part) for part in batch) for batch in data]


def same(first, second):
    return all((a == b).all() for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


# Epochs -----------------------------------------------------------------------------------------------------------


def test_an_epoch_is_a_function_of_seed_and_epoch():
    recipe, source = open_recipe("lenet", {"crop": 2, "brightness": 0.1})
    advancing = batches(recipe, source, epochs=3)
    told = batches(recipe, source, epochs=3, told=True)
    for epoch in range(3):
        assert same(advancing[epoch], told[epoch])
    assert not same(told[1], told[2])
    other = batches(recipe.replace(seed=1), source, epochs=1)
    assert not same(told[0], other[0])


def test_an_epoch_visits_every_example_once_but_for_a_rest_that_changes():
    recipe, source = open_recipe("lenet", {"rotation": 0, "shear": 0, "zoom": 0, "shift": 0})
    (images, labels), *_ = evaluation(recipe, source, "train", 2000)
    index = {
        image.tobytes() + bytes([label]): row for row, (image, label) in enumerate(zip(images, labels, strict=True))
    }
    left = []
    for epoch in batches(recipe, source, epochs=2):
        assert len(epoch) == 1077 // 32
        rows = [index[x.tobytes() + bytes([y])] for xs, ys in epoch for x, y in zip(xs, ys, strict=True)]
        assert len(set(rows)) >= len(rows) - 1  # two of the digits may be equal
        left.append(set(range(1077)) - set(rows))
    assert left[0] != left[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random access", "stream"])
def test_what_does_not_fit_in_memory_is_still_shuffled_by_seed_and_epoch(kind, monkeypatch, pictures):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    monkeypatch.setattr(pipeline, "WINDOW", 100)
    data = f"folder:{pictures}" if kind == "random access" else "digits"
    recipe, source = open_recipe("lenet", {"dataset": data, "batch_size": 4})
    first, again = (batches(recipe, source, epochs=2) for _ in range(2))
    assert same(first[0], again[0])
    assert same(first[1], again[1])
    assert not same(first[0], first[1])
    labels = np.concatenate([y for _, y in first[0]])
    assert len(labels) == source.sizes["train"] // 4 * 4
    assert len(set(labels)) > 1


def test_evaluation_is_whole_in_order_and_not_augmented():
    recipe, source = open_recipe("lenet", {"crop": 4})
    once, twice = (evaluation(recipe, source, "test", 77) for _ in range(2))
    assert same(once, twice)
    assert sum(len(labels) for _, labels in once) == 360


def test_balanced_weights_give_every_class_the_same_sum():
    images = np.zeros((60, 8, 8), "uint8")
    labels = np.array([0] * 50 + [1] * 10)
    splits = {"train": (images, labels), "validation": (images, labels)}
    recipe, source = open_recipe("lenet", {"dataset": splits, "class_weight": "balanced", "batch_size": 60})
    ((_, ys, weights),) = batches(recipe, source)[0]
    assert weights[ys == 0].sum() == pytest.approx(weights[ys == 1].sum())
    assert weights.sum() == pytest.approx(60)


@pytest.mark.parametrize(
    "given", [{"dataset": "digits"}, {"dataset": "cells:size=32,count=1,radius=6.0,train=8,validation=2,test=2"}]
)
def test_balanced_weights_cost_nothing_where_nothing_is_trained(given, monkeypatch):
    name = "lenet" if given["dataset"] == "digits" else "unet"
    recipe, source = open_recipe(name, {**given, "class_weight": "balanced"})
    read = []
    examples = type(source).examples
    monkeypatch.setattr(type(source), "examples", lambda self, split: read.append(split) or examples(self, split))
    evaluation(recipe, source, "validation", 16)
    assert set(read) == {"validation"}


# Sources ----------------------------------------------------------------------------------------------------------


def test_digits_are_split_once_and_for_all_in_proportion():
    source = open_source("digits")
    assert dict(source.sizes) == {"train": 1077, "validation": 360, "test": 360}
    seen = {}
    for split in source.sizes:
        labels = [int(example["label"]) for example in source.examples(split)]
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 0.05 * len(labels)
        seen[split] = {np.asarray(example["image"]).tobytes() for example in source.examples(split)}
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("name", ["digits", "dates:train=20,validation=4,test=4"])
def test_a_built_in_set_is_opened_without_those_of_tensorflow_datasets(name, monkeypatch):
    """Looking a set up by its name imports them all, which takes half a second."""
    import tensorflow_datasets as tfds

    for looked_up in ("list_builders", "builder", "builder_cls"):
        monkeypatch.setattr(tfds, looked_up, lambda *given, **options: pytest.fail("looked up by name"))
    assert len(next(iter(open_source(name).examples("test")))) == 2


def test_pixels_are_the_digits_of_scikit_learn():
    from sklearn.datasets import load_digits

    from zoo.data.memory_source import stratified

    digits = load_digits()
    rows = stratified(digits.target)["test"]
    ours = sorted(
        (np.asarray(example["image"]).tobytes(), int(example["label"]))
        for example in open_source("digits").examples("test")
    )
    theirs = sorted(
        (np.round(digits.images[row] * 15.9375).astype("uint8").tobytes(), int(digits.target[row])) for row in rows
    )
    assert ours == theirs


def test_arrays_are_split_by_row_and_known_by_their_bytes():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (200, 9, 7, 3), "uint8"), rng.integers(0, 4, 200)
    source = open_source((images, labels))
    assert sum(source.sizes.values()) == 200
    assert source.features["image"].channels == 3
    assert source.features["label"].names == ("0", "1", "2", "3")
    assert open_source((images.copy(), labels)).fingerprint == source.fingerprint
    images[0, 0, 0, 0] ^= 1
    assert open_source((images, labels)).fingerprint != source.fingerprint


def test_float_pictures_are_those_of_their_bytes_and_strings_are_classes():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 3), "uint8")
    images[:, 0, 0] = 255
    labels = rng.choice(["dog", "cat", "ant"], 40)
    whole = open_source((images, labels))
    assert whole.features["label"].names == ("ant", "cat", "dog")
    for floats in (images.astype("float32"), images / 255, (images / 255).astype("float32")):
        assert open_source((floats, labels.astype(object))).fingerprint == whole.fingerprint
    assert open_source((images, np.searchsorted(["ant", "cat", "dog"], labels))).fingerprint != whole.fingerprint
    apart = open_source({"train": (images[:20], ["a", "b"] * 10), "test": (images[20:], ["b", "c"] * 10)})
    assert apart.features["label"].names == ("a", "b", "c")
    assert [int(one["label"]) for one in apart.examples("test").take(2)] == [1, 2]


def test_a_path_is_named_by_what_lies_there(tmp_path, monkeypatch):
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "tables").mkdir()
    for name in ("a.csv", "b.TXT", "tables/train.csv"):
        (tmp_path / name).write_text("x,y\n")
    found = {name: name_of(tmp_path / name) for name in ("pets", "a.csv", "b.TXT", "tables")}
    kinds = {"pets": "folder", "a.csv": "csv", "b.TXT": "text", "tables": "csv"}
    assert found == {name: f"{kind}:{tmp_path / name}" for name, kind in kinds.items()}
    assert name_of(pathlib.Path("folder:pets")) == "folder:pets"
    assert open_source(pathlib.Path("iris")).name == "iris"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="folder:pets: no image"):
        zoo.recipe("lenet", dataset=pathlib.Path("pets"))
    assert zoo.recipe("lenet", init_from=tmp_path / "run").init_from == str(tmp_path / "run")


def test_parts_are_seventy_fifteen_fifteen():
    parts = [part_of(f"cat/{number}.png") for number in range(10_000)]
    assert parts.count("train") == pytest.approx(7000, abs=150)
    assert parts.count("validation") == pytest.approx(1500, abs=120)


@pytest.mark.parametrize(("data", "message"), [
    ((np.full((3, 8, 8), 256.0), np.zeros(3, int)), "must be uint8, uint16 or floats .* from 0 to 255"),
    ((np.full((3, 8, 8), np.nan), np.zeros(3, int)), "from 0 to 255"),
    ((np.full((3, 8, 8), -0.1), np.zeros(3, int)), "from 0 to 255"),
    ((np.zeros((3, 8, 8), "int16"), np.zeros(3, int)), "pixels are uint8, uint16 or floats"),
    ((np.zeros((3, 8, 8), "uint8"), np.array(["a", 1, "b"], object)), "integers from 0 or strings"),
    ((np.zeros((3, 8, 8, 5), "uint8"), np.zeros(3, int)), "1 or 3"),
    ((np.zeros((3, 8, 8), "uint8"), np.zeros(4, int)), "3 integers"),
    ((np.zeros((3, 8, 8), "uint8"), np.zeros(3)), "integers"),
    ((np.zeros((3, 8, 8), "uint8"), np.array([0, -1, 1])), "from 0"),
    ({"tran": (np.zeros((3, 8, 8), "uint8"), np.zeros(3, int))}, "Did you mean 'train'"),
    ({"test": (np.zeros((3, 8, 8), "uint8"), np.zeros(3, int))}, "needs a 'train' split"),
    (7, "must be a name"),
    (tf.data.Dataset.range(3).repeat(), "must know its length"),
    ("digit", "Did you mean 'digits'"),
    ("folder:", "needs a path"),
    ("tfds:", "needs a name"),
    ("folder:/dev/null", "is not a folder"),
    ("folder:/nowhere/at/all", "is not there"),
    ("tfds:mnits", "Did you mean 'mnist'"),
    ("arrays:0123", "Pass the same data again"),
])  # fmt: skip
def test_bad_data_are_named(data, message):
    with pytest.raises(InputError, match=message):
        open_source(data)


@pytest.fixture
def pictures(tmp_path):
    """A folder of 40 images of two classes, PNG and JPEG, grey and colour, of several sizes."""
    rng = np.random.default_rng(0)
    for label, brightness in (("dark", 60), ("light", 200)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            channels = 3 if number % 2 else 1
            pixels = rng.normal(brightness, 20, (12 + number, 20, channels)).clip(0, 255).astype("uint8")
            png = number % 3
            data = tf.io.encode_png(pixels) if png else tf.io.encode_jpeg(pixels)
            (tmp_path / "pictures" / label / f"{number}.{'png' if png else 'jpg'}").write_bytes(data.numpy())
    return tmp_path / "pictures"


def test_a_folder_gives_classes_channels_and_splits(pictures):
    recipe, source = open_recipe("lenet", {"dataset": f"folder:{pictures}", "saturation": 0.2})
    assert source.features["label"].names == ("dark", "light")
    assert sum(source.sizes.values()) == 40
    assert recipe.classes == 2
    assert recipe.input_shape == (32, 32, 3)
    assert recipe.saturation == 0.2  # counts on these data only
    ((images, labels), *_) = batches(recipe, source, batch_size=8)[0]
    assert images.shape == (8, 32, 32, 3)
    assert set(labels) <= {0, 1}


def test_a_folder_may_have_its_own_splits(pictures):
    for split in ("validation", "train"):
        for label in ("dark", "light"):
            (pictures / split / label).mkdir(parents=True)
            for path in sorted((pictures / label).glob("1*")):
                shutil.copy(path, pictures / split / label)
    shutil.rmtree(pictures / "dark")
    shutil.rmtree(pictures / "light")
    source = open_source(f"folder:{pictures}")
    assert dict(source.sizes) == {"train": 22, "validation": 22}


def test_what_is_given_must_agree_with_the_data(pictures):
    with pytest.raises(InputError, match=r"classes=3 was given, but dataset=folder:.* has 2 classes"):
        zoo.recipe("lenet", dataset=f"folder:{pictures}", classes=3)
    with pytest.raises(InputError, match="input_shape=32,32,1 was given"):
        zoo.recipe("lenet", dataset=f"folder:{pictures}", input_shape=(32, 32, 1))
    assert zoo.recipe("lenet", dataset=f"folder:{pictures}", input_shape=(24, 40, 3)).input_shape == (24, 40, 3)


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "loop"])
def test_a_bad_picture_is_named_and_skipped_only_when_asked(pictures, damage):
    bad = pictures / "dark" / "4.png"
    if damage == "loop":
        bad.unlink()
        bad.symlink_to(bad)
    else:
        bad.write_bytes({"empty": b"", "truncated": bad.read_bytes()[:60], "text": b"hello"}[damage])
    with pytest.raises(InputError, match=r"dark/4\.png is not a readable image.*--skip-bad"):
        open_source(f"folder:{pictures}")
    source = open_source(f"folder:{pictures}", skip_bad=True)
    assert sum(source.sizes.values()) == 39
    assert "1 unreadable" in source.notes[0]


def test_folders_that_cannot_train_are_refused(tmp_path, pictures):
    with pytest.raises(InputError, match="no image"):
        open_source(f"folder:{tmp_path / 'pictures' / 'dark'}")
    shutil.rmtree(pictures / "dark")
    with pytest.raises(InputError, match="only one class, 'light'"):
        open_source(f"folder:{pictures}")


@pytest.mark.parametrize("ending", ["gif", "bmp", "webp", "tif", "TIFF"])
def test_every_kind_of_picture_is_read_as_the_png_of_it(pictures, ending):
    pixels = np.zeros((6, 5, 3), "uint8")
    pixels[:3, :, 0], pixels[3:, :, 2] = 200, 90
    lossless = {"lossless": True} if ending == "webp" else {}
    for number in range(20):
        (pictures / "dark" / f"{number}.png").unlink(missing_ok=True)
        (pictures / "dark" / f"{number}.jpg").unlink(missing_ok=True)
        PIL.Image.fromarray(pixels).save(pictures / "dark" / f"{number}.{ending}", **lossless)
    source = open_source(f"folder:{pictures}")
    assert source.features["label"].names == ("dark", "light")
    assert sum(source.sizes.values()) == 40
    read = [one["image"] for one in source.examples("train").as_numpy_iterator() if one["label"] == 0]
    assert read
    for image in read:
        np.testing.assert_array_equal(image, pixels)


def test_a_bmp_with_a_palette_has_its_colours(pictures):
    pixels = np.full((6, 5, 3), (200, 0, 90), "uint8")
    PIL.Image.fromarray(pixels).quantize(4).save(pictures / "dark" / "4.bmp")
    (pictures / "dark" / "4.png").unlink()
    reader = ImageReader((6, 5, 3), ("dark", "light"))
    _, (read,) = reader.read_raw([pictures / "dark" / "4.bmp"])
    np.testing.assert_array_equal(read, pixels)
    with pytest.raises(tf.errors.InvalidArgumentError, match="palette"):
        reader.decode((pictures / "dark" / "4.bmp").read_bytes())
    assert sum(open_source(f"folder:{pictures}").sizes.values()) == 40


def test_a_picture_of_more_than_8_bits_that_would_be_cut_is_named(pictures):
    PIL.Image.fromarray(np.full((4, 4), 300, "int32")).save(pictures / "dark" / "deep.tif")
    with pytest.raises(InputError, match=r"dark/deep\.tif is not a readable image .*of 32 bits, save it as PNG"):
        open_source(f"folder:{pictures}")


def test_what_is_no_picture_is_counted_and_what_is_hidden_passed_over(pictures):
    (pictures / "dark" / ".ipynb_checkpoints").mkdir()
    shutil.copy(pictures / "dark" / "4.png", pictures / "dark" / ".ipynb_checkpoints" / "4-checkpoint.png")
    for name in ("a.txt", "b.heic", "c.csv", "d.json"):
        (pictures / "light" / name).write_text("hello")
    source = open_source(f"folder:{pictures}")
    assert sum(source.sizes.values()) == 40
    assert source.notes == ("left out 4 files that are no images: light/a.txt, light/b.heic, light/c.csv, ...",)


def test_a_class_folder_without_a_picture_is_named(pictures):
    (pictures / "dull").mkdir()
    (pictures / "dull" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"no image .* in the class folder .*/dull"):
        open_source(f"folder:{pictures}")


@pytest.mark.parametrize(("names", "message"), [
    (("TRAIN", "Test"), None),
    (("Train", "Val"), r"rename .*/Val to validation"),
    (("Training", "Val"), r"rename .*/Training to train"),
    (("Train", "train"), r"Train and .*train are both the train split"),
])  # fmt: skip
def test_the_case_of_split_folders_does_not_matter(tmp_path, pictures, names, message):
    for name in names:
        shutil.copytree(pictures, tmp_path / "split" / name)
    if message:
        with pytest.raises(InputError, match=message):
            open_source(f"folder:{tmp_path / 'split'}")
    else:
        source = open_source(f"folder:{tmp_path / 'split'}")
        assert source.features["label"].names == ("dark", "light")
        assert dict(source.sizes) == {"train": 40, "test": 40}


def test_pictures_are_decoded_once_and_seen_again_when_they_change(pictures, monkeypatch):
    from zoo.data import folder_source

    decoded = []
    decode = folder_source.decode_picture
    monkeypatch.setattr(folder_source, "decode_picture", lambda path: decoded.append(path) or decode(path))
    first = open_source(f"folder:{pictures}").fingerprint
    assert len(decoded) == 40
    assert open_source(f"folder:{pictures}").fingerprint == first
    assert len(decoded) == 40
    (pictures / "dark" / "1.png").write_bytes((pictures / "dark" / "2.png").read_bytes())
    assert open_source(f"folder:{pictures}").fingerprint != first
    assert len(decoded) == 41


# TensorFlow Datasets ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("recipe", "given", "splits", "classes", "note"),
    [
        ("lenet", {"dataset": "tfds:cifar10"}, ("train", "test"), 10, "validation is the last tenth of train"),
        ("resnet/20", {}, ("train", "test"), 10, "validation is the last tenth of train"),
        ("resnet", {"dataset": "tfds:cifar100"}, ("train", "test"), 100, "validation is the last tenth of train"),
        ("resnet", {"dataset": "tfds:imagenette"}, ("train", "validation"), 10, "test is validation"),
        ("resnet/18", {"input_shape": (64, 48, 3)}, ("train", "validation", "test"), 1000, None),
    ],
)
def test_sets_of_tensorflow_datasets_train(recipe, given, splits, classes, note, mocked):
    mocked(*splits)
    recipe, source = open_recipe(recipe, {**given, "batch_size": 5})
    assert recipe.dataset.startswith("tfds:")
    assert len(source.features["label"].names) == recipe.classes == classes
    assert not source.notes if note is None else note in source.notes[0]
    for split in ("train", "validation"):
        images, labels = next(iter(zoo.dataset(recipe, split)))
        assert images.shape == (5, *recipe.input_shape)
        assert labels.shape[0] == 5  # one label an image, or where images are mixed a row of shares


def test_no_network_is_said_at_once_with_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tfds_source, "HOST", ("127.0.0.1", 9))  # nobody listens
    with pytest.raises(InputError, match=f"no network.*copy it to {tmp_path}"):
        open_source("tfds:mnist", data_dir=tmp_path)


@pytest.mark.parametrize(("value", "forbids"), [(None, False), ("", False), ("0", False), ("1", True), ("true", True)])
def test_any_value_but_0_is_offline(value, forbids, monkeypatch):
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("ZOO_OFFLINE", value)
    assert files.offline() == forbids


def test_offline_opens_no_socket(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(InputError, match="ZOO_OFFLINE forbids it"):
        open_source("tfds:mnist", data_dir=tmp_path)
    run = zoo.train("lenet", epochs=1, directory=tmp_path / "run", data_dir=tmp_path, quiet=True)
    assert zoo.evaluate(run, data_dir=tmp_path)["accuracy"] > 0.2


def test_a_damaged_set_is_named_with_its_folder_and_the_way_out(tmp_path):
    source = open_source("digits", data_dir=tmp_path)
    assert source.verify() == 1797
    (record,) = tmp_path.glob("zoo_digits/*/*-train.tfrecord*")
    data = record.read_bytes()
    for broken in (data[:5000], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]):
        record.write_bytes(broken)
        damaged = open_source("digits", data_dir=tmp_path)
        with pytest.raises(InputError, match=r"zoo_digits/1\.0\.0 is damaged.*zoo data prepare digits"):
            damaged.verify()
        with pytest.raises(InputError, match="is damaged"):
            zoo.dataset("lenet", "train", data_dir=tmp_path)
    record.unlink()
    with pytest.raises(InputError, match="is damaged"):
        open_source("digits", data_dir=tmp_path).verify()
    (tmp_path / "zoo_digits" / "1.0.0" / "dataset_info.json").write_text("{")
    with pytest.raises(InputError, match="zoo data prepare digits"):
        open_source("digits", data_dir=tmp_path)


def test_a_preparation_that_was_killed_leaves_nothing_in_the_way(tmp_path):
    (tmp_path / "zoo_digits" / "incomplete.ABC_1.0.0").mkdir(parents=True)
    assert open_source("digits", data_dir=tmp_path).verify() == 1797
    assert not list(tmp_path.glob("zoo_digits/incomplete*"))


@pytest.mark.slow
def test_preparing_twice_at_once_is_safe(tmp_path):
    command = [sys.executable, "-m", "zoo", "data", "prepare", "digits", "--data-dir", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert "1,077 train" in out


# Reading and augmenting -------------------------------------------------------------------------------------------


def test_a_picture_is_read_alike_from_bytes_and_arrays():
    rng = np.random.default_rng(0)
    reader = ImageReader((10, 12, 3), ["a", "b"])
    pixels = rng.integers(0, 256, (17, 9, 3), "uint8")
    from_array = np.asarray(reader.fit_images(pixels))
    assert from_array.shape == (10, 12, 3)
    from_bytes = np.asarray(reader.read_bytes(tf.stack([tf.io.encode_png(pixels)])))[0]
    np.testing.assert_array_equal(from_array, from_bytes)
    np.testing.assert_array_equal(np.asarray(reader.fit_images(pixels[None]))[0], from_array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("wanted", [1, 3])
def test_channels_are_fitted(channels, wanted):
    reader = ImageReader((6, 6, wanted), ["a", "b"])
    pixels = np.full((6, 6, channels), 100, "uint8")
    np.testing.assert_array_equal(np.asarray(reader.fit_images(pixels)), np.full((6, 6, wanted), 100))


RESIZING = ("resize", "crop_fraction", "interpolation")


@pytest.mark.parametrize("given", [("stretch", 0.875, "bilinear"), ("crop", 0.95, "bicubic")])
def test_a_reader_comes_back_from_its_file(tmp_path, given):
    options = dict(zip(RESIZING, given, strict=True))
    keras.saving.save_model(ImageReader((10, 12, 3), ["a", "b"], **options), tmp_path / "reader.keras")
    reader = keras.saving.load_model(tmp_path / "reader.keras")
    assert (reader.image_shape, reader.labels) == ((10, 12, 3), ("a", "b"))
    assert tuple(getattr(reader, name) for name in RESIZING) == given


def test_a_reader_of_before_there_was_a_choice_stretches_bilinearly():
    config = ImageReader((10, 12, 3), ["a", "b"]).get_config()
    reader = ImageReader.from_config({name: value for name, value in config.items() if name not in RESIZING})
    assert tuple(getattr(reader, name) for name in RESIZING) == ("stretch", 0.875, "bilinear")


def smooth(height, width):
    """An image without noise, whose every row and column is another."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 11) * 2, np.cos((x - 2 * y) / 13) * 2]
    return (127.5 + 63 * np.stack(waves, axis=-1)).astype("uint8")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width", "fraction"), [
    (301, 200, 0.875), (200, 333, 0.95), (64, 64, 1.0), (40, 31, 0.875), (700, 33, 0.9),
])  # fmt: skip
def test_a_crop_is_the_middle_that_pillow_and_torchvision_take(height, width, fraction, interpolation):
    """torchvision: the short edge to floor(64 / fraction), the long one in proportion, CenterCrop(64)."""
    image, side = smooth(height, width), 64
    short = math.floor(side / fraction)
    tall, wide = ((size * short) // min(height, width) for size in (height, width))
    kind = getattr(PIL.Image.Resampling, interpolation.upper())
    resized = np.asarray(PIL.Image.fromarray(image).resize((wide, tall), kind))
    top, left = round((tall - side) / 2), round((wide - side) / 2)
    expected = resized[top : top + side, left : left + side].astype(int)

    reader = ImageReader((side, side, 3), ["a", "b"], "crop", fraction, interpolation)
    found = np.asarray(reader.fit_images(image)).astype(int)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.asarray(reader.fit_images(image[None]))[0], found)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_stretching_is_pillows(interpolation):
    image, kind = smooth(150, 90), getattr(PIL.Image.Resampling, interpolation.upper())
    expected = np.asarray(PIL.Image.fromarray(image).resize((48, 40), kind)).astype(int)
    reader = ImageReader((40, 48, 3), ["a", "b"], interpolation=interpolation)
    assert np.abs(np.asarray(reader.fit_images(image)).astype(int) - expected).max() <= 1


def test_noise_is_resized_as_by_pillow_where_it_overshoots():
    """Edges of black and white, which a cubic goes beyond: what is cut off between the passes counts."""
    image = np.random.default_rng(0).integers(0, 2, (50, 37, 3)).astype("uint8") * 255
    for size in ((90, 80), (31, 7), (50, 37)):  # none for which Pillow 13 begins with the rows
        expected = np.asarray(PIL.Image.fromarray(image).resize(size[::-1], PIL.Image.Resampling.BICUBIC))
        found = np.asarray(ImageReader((*size, 3), ["a", "b"], interpolation="bicubic").fit_images(image))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_is_decoded_as_by_pillow(subsampling):
    noise = np.random.default_rng(0).normal(0, 9, (61, 83, 3))
    file = io.BytesIO()
    image = PIL.Image.fromarray(np.clip(smooth(61, 83) + noise, 0, 255).astype("uint8"))
    image.save(file, "JPEG", quality=90, subsampling=subsampling)
    expected = np.asarray(PIL.Image.open(file))
    np.testing.assert_array_equal(np.asarray(decode(tf.constant(file.getvalue()))), expected)
    np.testing.assert_array_equal(np.asarray(read(file.getvalue()).pixels), expected)


def test_a_crop_of_another_shape_covers_it_in_proportion():
    """Of a gradient from left to right, a wide crop keeps the middle rows and the columns that the fraction says."""
    image = np.repeat(np.tile(np.arange(200, dtype="uint8"), (200, 1))[..., None], 3, axis=2)
    found = np.asarray(ImageReader((20, 40, 3), ["a", "b"], "crop", 0.8).fit_images(image))
    assert found.shape == (20, 40, 3)  # resized to 50 x 50, of which rows 15 to 34 and columns 5 to 44 stay
    np.testing.assert_allclose(found[0, :, 0], np.arange(5, 45) * 4 + 1.5, atol=1)


def test_crops_train_predict_and_are_fed_alike(tmp_path):
    """What `fit` gets of a file is what `predict` and an export read of it."""
    folder = tmp_path / "images"
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            PIL.Image.fromarray(smooth(50 + number, 30)).save(folder / label / f"{number}.png")
    reading = {"dataset": f"folder:{folder}", "resize": "crop", "crop_fraction": 0.9, "interpolation": "bicubic"}
    recipe, source = open_recipe("lenet", {**reading, "rotation": 0, "shear": 0, "zoom": 0, "shift": 0})
    reader = recipe.make_reader(source)
    images, _ = next(iter(pipeline.training(source, recipe.make_preparation(reader, source), batch_size=64, seed=0)))
    fed = {image.astype("uint8").tobytes() for image in np.asarray(images)}
    paths = sorted(folder.rglob("*.png"))
    _, read = reader.read_raw(paths)
    exported = np.asarray(reader.read_bytes(tf.constant([path.read_bytes() for path in paths])))
    np.testing.assert_array_equal(exported, read)
    assert fed <= {image.tobytes() for image in read}


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3)).astype("uint8")


def augmented(seed=(1, 2), **properties):
    return np.asarray(Augmentation(**properties)(IMAGES, tf.constant(seed, tf.int64)))


def test_no_augmentation_is_the_identity():
    np.testing.assert_array_equal(augmented(), IMAGES)


@pytest.mark.parametrize("properties", [
    {"crop": 2}, {"flip": "horizontal"}, {"flip": "both"}, {"rotation": 20.0}, {"shear": 10.0}, {"zoom": 0.3},
    {"shift": 0.2}, {"brightness": 0.3}, {"contrast": 0.5}, {"saturation": 0.5}, {"blur": 1.5},
])  # fmt: skip
def test_augmentation_is_a_function_of_the_seed(properties):
    once, twice, other = augmented(**properties), augmented(**properties), augmented((1, 3), **properties)
    np.testing.assert_array_equal(once, twice)
    assert (once != other).any()
    assert (once != IMAGES).any()
    assert once.min() >= 0
    assert once.max() <= 255.01


def test_a_flip_is_one_of_its_two_pictures_exactly():
    for picture, original in zip(augmented(flip="horizontal"), IMAGES, strict=True):
        assert (picture == original).all() or (picture == original[:, ::-1]).all()


def test_a_crop_is_a_window_of_the_padded_picture_exactly():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for picture, source in zip(augmented(crop=2), padded, strict=True):
        windows = [source[y : y + 9, x : x + 9] for y in range(5) for x in range(5)]
        assert any((picture == window).all() for window in windows)


def test_a_rotation_by_any_angle_keeps_the_middle_and_a_half_turn_is_exact_in_size():
    middle = augmented(rotation=180.0)[:, 4, 4]
    np.testing.assert_allclose(middle, IMAGES[:, 4, 4], atol=0.01)


def test_blur_keeps_the_mean_and_saturation_the_grey():
    np.testing.assert_allclose(augmented(blur=1.0).mean(), IMAGES.mean(), rtol=0.02)
    grey = np.repeat(IMAGES[..., :1], 3, axis=-1)
    changed = np.asarray(Augmentation(saturation=0.9)(grey, tf.constant([0, 0], tf.int64)))
    np.testing.assert_allclose(changed, grey, atol=0.1)


def test_one_more_augmentation_changes_no_other():
    alone, both = augmented(crop=2), augmented(crop=2, brightness=1e-9)
    np.testing.assert_allclose(alone, both, atol=1e-3)


@pytest.mark.parametrize(("kind", "ending"), [("folder", ""), ("csv", ".csv"), ("text", ".txt")])
def test_splits_under_another_name_are_refused_not_passed_over(kind, ending, tmp_path):
    names = {"train": f"train{ending}", "val": f"val{ending}"}
    for name in names.values():
        (tmp_path / name).mkdir() if kind == "folder" else (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(zoo.InputError, match=rf"rename .*{names['val']} to validation{ending}\."):
        open_source(f"{kind}:{tmp_path}")
    (tmp_path / names["val"]).rename(tmp_path / f"test{ending}")
    (tmp_path / names["train"]).rename(tmp_path / f"else{ending}")
    with pytest.raises(zoo.InputError, match=rf"has test but no train{ending}"):
        open_source(f"{kind}:{tmp_path}")
