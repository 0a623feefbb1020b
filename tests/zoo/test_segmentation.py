"""Segmentation: what is cut, weighed, measured, answered and shown."""

import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import zoo
from tests.zoo.test_training import assert_same
from zoo.data import open_source, pipeline
from zoo.data.borders import border_weights
from zoo.data.crops import Crops
from zoo.errors import InputError
from zoo.objective.losses import MaskLoss
from zoo.objective.metrics import MeanDice, MeanIoU
from zoo.readers.masks import MaskReader
from zoo.registry import open_recipe
from zoo.tiling import tiles

CELLS = "cells:size=48,count=4,radius=8.0,train=12,validation=5,test=4"
TINY = {"filters": 4, "depth": 2, "batch_size": 4, "input_shape": (32, 32, 1), "epochs": 2}
RNG = np.random.default_rng(0)


# Pieces ---------------------------------------------------------------------------------------------------------------


def places(height, width):
    """An image whose pixels say where they are."""
    return np.stack(np.mgrid[:height, :width], axis=-1).astype("uint8")


@pytest.mark.parametrize("options", [
    {}, {"flip": "horizontal"}, {"flip": "both"}, {"rotation": 180.0}, {"zoom": 0.5}, {"shift": 0.3}, {"elastic": 4.0},
    {"flip": "both", "rotation": 30.0, "zoom": 0.2, "shift": 0.1, "elastic": 2.0},
])  # fmt: skip
@pytest.mark.parametrize("size", [(60, 50), (40, 44), (20, 70), (1, 3)])
def test_a_mask_moves_with_its_picture(options, size):
    mask = RNG.integers(0, 256, size).astype("uint8")
    for seed in range(5):
        crops = Crops(height=40, width=44, **options)
        picture, (found,), inside = tf.nest.map_structure(np.asarray, crops(places(*size), [mask], [seed, 7]))
        near = picture.round().astype(int)
        clear = np.abs(picture - near).max(axis=-1) < 0.49  # half a pixel on, either may be the nearest
        assert (found == mask[near[..., 0], near[..., 1]])[clear & inside].all()
        assert inside.any() or size == (1, 3)


def test_what_a_small_picture_lacks_is_mirrored_and_told():
    picture, (mask,), inside = tf.nest.map_structure(
        np.asarray, Crops(height=9, width=30)(places(9, 7), [np.ones((9, 7), "uint8")], [1, 2])
    )
    assert inside.sum() == 9 * 7
    start = int(np.flatnonzero(inside[0])[0])
    expected = np.pad(np.arange(7), (start, 30 - 7 - start), mode="reflect")
    np.testing.assert_array_equal(picture[3, :, 1], expected)
    np.testing.assert_array_equal(picture[:, 0, 0], np.arange(9))
    assert mask.all()


def test_pieces_come_from_everywhere_alike():
    crops = Crops(height=4, width=4)
    starts = [tuple(np.asarray(crops(places(6, 4), [], [seed, 0])[0])[0, 0].astype(int)) for seed in range(300)]
    counts = [starts.count((row, 0)) for row in range(3)]
    assert sum(counts) == 300
    assert min(counts) > 70
    smaller = {int(np.flatnonzero(np.asarray(crops(places(4, 3), [], [seed, 0])[2])[0])[0]) for seed in range(50)}
    assert smaller == {0, 1}


# Weights, losses, metrics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 1.0)])
def test_border_weights_are_the_papers(w0, sigma):
    from scipy import ndimage

    mask = np.zeros((30, 40), int)
    mask[3:9, 4:12] = mask[4:12, 14:20] = mask[13:20, 6:13] = mask[25:28, 30:38] = 1
    mask[20:24, 20:24] = 2  # another class is no cell
    cells, count = ndimage.label(mask == 1)
    y, x = np.mgrid[:30, :40]
    distances = []
    for cell in range(1, count + 1):
        rows, columns = np.nonzero(cells == cell)
        distances.append(np.hypot(y[..., None] - rows, x[..., None] - columns).min(axis=-1))
    first, second = np.sort(distances, axis=0)[:2]
    expected = np.where(mask == 0, w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2)), 0)
    np.testing.assert_allclose(border_weights(mask, w0, sigma), expected, atol=1e-6 * w0)
    assert not border_weights(np.zeros((5, 5), int), w0, sigma).any()
    assert not border_weights(mask * (cells == 1), w0, sigma).any()  # one cell alone has no neighbour


def scores(classes=3):
    """(masks with pixels outside the loss, logits, weights)."""
    logits, weights = RNG.normal(size=(2, 6, 5, classes)), RNG.uniform(0.5, 2, (2, 6, 5))
    return RNG.integers(-1, classes + 1, (2, 6, 5)), logits.astype("float32"), weights.astype("float32")


@pytest.mark.backend
@pytest.mark.parametrize("weighed", [False, True])
def test_losses_are_their_formulas(weighed):
    masks, logits, weights = scores()
    weights = weights if weighed else np.ones_like(weights)
    valid = (masks >= 0) & (masks < 3)
    odds = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    picked = np.take_along_axis(odds, np.where(valid, masks, 0)[..., None], axis=-1)[..., 0]
    entropy = -(weights * np.log(picked))[valid].sum() / valid.sum()
    dice = []
    for number in range(3):
        true, said = (masks == number)[valid], odds[..., number][valid]
        dice.append((2 * (true * said).sum() + 1) / (true.sum() + said.sum() + 1))
    expected = {"cross_entropy": entropy, "dice": 1 - np.mean(dice), "both": entropy + 1 - np.mean(dice)}
    for kind, value in expected.items():
        found = MaskLoss(kind)(masks, logits, sample_weight=weights if weighed else None)
        assert float(found) == pytest.approx(value, rel=1e-5)
        moved = np.where(valid[..., None], logits, 7.0).astype("float32")
        assert float(MaskLoss(kind)(masks, moved, weights if weighed else None)) == pytest.approx(value, rel=1e-5)


@pytest.mark.backend
def test_metrics_are_of_all_pixels_and_of_classes_that_occur():
    iou, dice = MeanIoU(4), MeanDice(4)
    batches = [scores() for _ in range(3)]
    for masks, logits, _ in batches:
        wide = np.concatenate([logits, np.full_like(logits[..., :1], -9)], axis=-1)
        for metric in (iou, dice):
            metric.update_state(np.where(masks == 3, 17, masks), wide)  # class 3 neither occurs nor is said
    true = np.concatenate([masks.ravel() for masks, _, _ in batches])
    said = np.concatenate([logits.argmax(axis=-1).ravel() for _, logits, _ in batches])
    true, said = true[(true >= 0) & (true < 3)], said[(true >= 0) & (true < 3)]
    both = np.array([((true == k) & (said == k)).sum() for k in range(3)])
    each = np.array([(true == k).sum() + (said == k).sum() for k in range(3)])
    assert float(iou.result()) == pytest.approx(np.mean(both / (each - both)), rel=1e-6)
    assert float(dice.result()) == pytest.approx(np.mean(2 * both / each), rel=1e-6)
    iou.reset_state()
    assert float(iou.result()) == 0


@pytest.mark.backend
def test_half_precision_logits_count_in_full():
    masks, logits, _ = scores()
    half = keras.ops.cast(logits, "float16")
    assert float(MaskLoss("both")(masks, half)) == pytest.approx(float(MaskLoss("both")(masks, logits)), rel=1e-2)


# Data -----------------------------------------------------------------------------------------------------------------


def write(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(pixels)
    if palette:
        picture = picture.convert("L")
        picture.putpalette(palette)
    picture.save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder of 30 images of four sizes with masks of three classes, two of palettes, some pixels void."""
    root = tmp_path / "pictures"
    for number in range(30):
        size = [(40, 36), (37, 53), (20, 24), (64, 33)][number % 4]
        mask = RNG.integers(0, 3, size).astype("uint8")
        mask[:2] = 255
        picture = (mask % 255 * 100).astype("uint8")
        write(root / "images" / f"{number}.png", np.stack([picture] * 3, axis=-1) if number == 5 else picture)
        write(root / "masks" / f"{number}.png", mask, palette=[9, 9, 9, 0, 0, 200] * 128 if number < 2 else None)
    return root


def recipe_of(data, **fields):
    return open_recipe("unet", {"dataset": data, **TINY, "flip": "none", "brightness": 0, "contrast": 0, **fields})


def batches(recipe, source, epochs=1):
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    options = {"batch_size": recipe.batch_size, "seed": recipe.seed, "epochs": range(epochs)}
    return list(pipeline.training(source, preparation, **options).as_numpy_iterator())


def judged(recipe, source, split):
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    data = pipeline.evaluation(source, split, preparation, batch_size=recipe.batch_size)
    found = list(data.as_numpy_iterator())
    assert data.cardinality() == len(found)  # else Keras warns at the end of each pass that data ran out
    return found


def test_a_folder_gives_pieces_for_training_and_whole_pictures_in_batches_of_one_size(pictures):
    recipe, source = recipe_of(f"folder:{pictures}", input_shape=(32, 32, 3))
    assert recipe.classes == 3
    assert recipe.input_shape[-1] == 3
    assert sum(source.sizes.values()) == 30
    images, targets = zip(*batches(recipe, source), strict=True)
    assert {image.shape for image in images} == {(4, 32, 32, 3)}
    for image, target in zip(images, targets, strict=True):
        np.testing.assert_array_equal(image[..., 0][target >= 0], target[target >= 0] * 100)  # the mask of that piece
    assert (np.stack(targets) == -1).any()
    counted = 0
    for images, targets in judged(recipe, source, "train"):
        counted += len(images)
        assert images.shape[:3] == targets.shape
        assert (targets[:, :2] == -1).all()
        np.testing.assert_array_equal(images[:, 2:, :, 0], targets[:, 2:] * 100)
    assert counted == source.sizes["train"]


@pytest.mark.parametrize("kind", ["held", "random access", "stream"])
def test_an_epoch_is_a_function_of_seed_and_epoch(kind, pictures, monkeypatch):
    if kind != "held":
        monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)
    data, channels = (CELLS, 1) if kind == "stream" else (f"folder:{pictures}", 3)
    changes = {"flip": "both", "rotation": 30.0, "elastic": 2.0, "contrast": 0.2}
    recipe, source = recipe_of(data, input_shape=(16, 16, channels), **changes)
    first, again = (batches(recipe, source, epochs=2) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    half = len(first) // 2
    assert any((one[0] != other[0]).any() for one, other in zip(first[:half], first[half:], strict=True))
    seeded = batches(recipe.replace(seed=1), source)
    assert any((one[0] != other[0]).any() for one, other in zip(first, seeded, strict=False))


def test_weights_are_of_classes_and_borders():
    recipe, source = recipe_of(CELLS, class_weight="balanced", w0=10.0, sigma=2.0, input_shape=(48, 48, 1))
    masks = [one["mask"] for one in source.examples("train").as_numpy_iterator()]
    counts = np.bincount(np.concatenate(masks).ravel(), minlength=3)
    known = {mask.tobytes(): border_weights(mask, 10.0, 2.0) for mask in masks}
    for _, targets, weights in batches(recipe, source):
        for target, found in zip(targets, weights, strict=True):
            expected = (counts.sum() / (3 * counts))[target] + known[target.astype("uint8").tobytes()]
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(judged(recipe, source, "test")[0]) == 2  # the loss of evaluation is not weighed


def test_masks_of_black_and_white_are_two_classes(tmp_path):
    for number in range(6):
        write(tmp_path / "images" / f"{number}.png", np.zeros((8, 8), "uint8"))
        write(tmp_path / "masks" / f"{number}.png", (RNG.integers(0, 2, (8, 8)) * 255).astype("uint8"))
    source = open_source(f"folder:{tmp_path}")
    assert source.features["mask"].names == ("0", "1")
    assert "two classes" in source.notes[0]
    for one in source.examples("train").as_numpy_iterator():
        assert set(np.unique(one["mask"])) == {0, 1}


def test_arrays_of_masks_train():
    images = RNG.integers(0, 256, (40, 21, 18)).astype("uint8")
    masks = RNG.integers(0, 4, (40, 21, 18))
    masks[:, 0] = 255
    recipe, source = recipe_of((images, masks))
    assert recipe.classes == 4
    for _, targets in batches(recipe, source):
        assert set(np.unique(targets)) == {-1, 0, 1, 2, 3}
    for wrong in (masks[:, :20], masks + 1, masks - 1.0):
        with pytest.raises(InputError, match=r"masks of the images' size from 0 to 255"):
            open_source((images, wrong))


def test_a_folder_may_name_its_classes_and_have_its_own_splits(pictures):
    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        for kind in ("images", "masks"):
            (pictures / split / kind).mkdir(parents=True)
            for number in numbers:
                (pictures / kind / f"{number}.png").rename(pictures / split / kind / f"{number}.png")
    (pictures / "labels.txt").write_text("ground\ncell\nedge\ndirt\n")
    source = open_source(f"folder:{pictures}")
    assert dict(source.sizes) == {"train": 4, "test": 2}
    assert source.features["mask"].names == ("ground", "cell", "edge", "dirt")


def test_folders_of_masks_are_found_in_any_case_and_hidden_ones_passed_over(pictures):
    for kind in ("images", "masks"):
        hidden = pictures / kind / ".ipynb_checkpoints"
        hidden.mkdir()
        (hidden / "0-checkpoint.png").write_bytes((pictures / kind / "0.png").read_bytes())
        (pictures / "Train").mkdir(exist_ok=True)
        (pictures / kind).rename(pictures / "Train" / kind.title())
    (pictures / "Train" / "Images" / "notes.txt").write_text("hello")
    PIL.Image.open(pictures / "Train" / "Images" / "3.png").save(pictures / "Train" / "Images" / "3.tif")
    (pictures / "Train" / "Images" / "3.png").unlink()
    source = open_source(f"folder:{pictures}")
    assert dict(source.sizes) == {"train": 30}
    assert "left out 1 file that is no image: Train/Images/notes.txt" in source.notes
    for one in source.examples("train").as_numpy_iterator():
        known = one["mask"] != 255
        np.testing.assert_array_equal(one["image"][..., 0][known], one["mask"][known] * 100)


def bad_size(root):
    write(root / "masks" / "3.png", np.zeros((20, 21), "uint8"))


def bad_id(root):
    write(root / "masks" / "3.png", np.full((64, 33), 7, "uint8"))


def colours(root):
    write(root / "masks" / "3.png", np.zeros((64, 33, 3), "uint8"))


def truncated(root):
    (root / "masks" / "3.png").write_bytes((root / "masks" / "3.png").read_bytes()[:60])


def named(root):
    bad_id(root)
    (root / "labels.txt").write_text("a\nb\nc\n")


@pytest.mark.parametrize(("damage", "message", "skips"), [
    (bad_size, r"masks/3.png is 20 x 21 and its image 64 x 33", "masks of another size than their image"),
    (named, r"masks/3.png has the id 7, and labels.txt names the 3 classes from 0 to 2",
     "masks with an id that is no class"),
    (colours, r"masks/3.png is not a mask: it has colours", "unreadable masks"),
    (truncated, r"masks/3.png is not a mask: it is not a whole PNG", "unreadable masks"),
    (lambda root: (root / "masks" / "3.png").unlink(), r"images/3.png has no mask", "images without a mask"),
    (lambda root: (root / "images" / "3.png").unlink(), r"masks/3.png has no image", "masks without an image"),
    (lambda root: (root / "images" / "3.png").write_bytes(b"hello"), r"images/3.png is not a readable image",
     "unreadable images"),
    (bad_id, r"masks/3.png has the id 7, and no mask has the id 3", None),
    (lambda root: write(root / "images" / "3.jpg", np.zeros((64, 33), "uint8")), r"3.jpg and .* have one name", None),
    (lambda root: (root / "labels.txt").write_text("one\n"), "must name two classes or more", None),
])  # fmt: skip
def test_bad_masks_are_named_and_skipped_when_asked(pictures, damage, message, skips):
    damage(pictures)
    with pytest.raises(InputError, match=message):
        open_source(f"folder:{pictures}")
    if skips:
        source = open_source(f"folder:{pictures}", skip_bad=True)
        assert sum(source.sizes.values()) == 29
        assert f"left out, {skips}: 1" in source.notes


def test_what_is_given_must_agree_with_the_data(pictures):
    with pytest.raises(InputError, match=r"classes=2 was given, but .* has 3 classes \(.*png has the id 2\)"):
        zoo.recipe("unet", dataset=f"folder:{pictures}", classes=2)
    with pytest.raises(InputError, match=r"must have an image and a mask\. It has: image, label"):
        zoo.recipe("unet", dataset="digits")
    with pytest.raises(InputError, match=r"must have an image and a class label\. It has: image, mask"):
        zoo.recipe("lenet", dataset=f"folder:{pictures}")


def test_cells_are_drawn_by_their_seed():
    first, again, other = (open_source(f"{CELLS}{more}") for more in ("", ",seed=0", ",seed=1"))
    assert first.name == again.name == "cells:size=48,count=4,radius=8.0,train=12,validation=5,test=4"
    assert other.name == f"{first.name},seed=1"
    seen = {}
    for source in (first, other):
        for split in source.sizes:
            for one in source.examples(split).as_numpy_iterator():
                assert one["image"].shape == (48, 48, 1)
                assert one["mask"].shape == (48, 48)
                assert set(np.unique(one["mask"])) <= {0, 1, 2}
                seen.setdefault(one["image"].tobytes(), []).append((source.name, split))
    assert len(seen) == 2 * 21  # no image twice, in no split and under no seed
    for text, message in (("sead=1", "Did you mean 'seed'"), ("size=4", "between 32"), ("size", "NAME=VALUE")):
        with pytest.raises(InputError, match=message):
            open_source(f"cells:{text}")
    with pytest.raises(InputError, match="digits has no options"):
        open_source("digits:seed=1")


def test_borders_part_cells_from_all_that_they_are_not():
    from scipy import ndimage

    from zoo.data.cells import Cells, _places, draw

    cells = Cells(size=96, count=12)
    number = _places(cells, np.random.default_rng(3))
    _, mask = draw(cells, np.random.default_rng(3))
    np.testing.assert_array_equal(mask > 0, number > 0)
    inside, count = ndimage.label(mask == 1)
    for piece in range(1, count + 1):
        assert len(set(number[inside == piece])) == 1, "the insides of two cells hang together"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pets_of_tensorflow_datasets_train(mocked):
    mocked("train", "test")
    recipe, source = recipe_of("tfds:oxford_iiit_pet", batch_size=2, input_shape=(32, 32, 3))
    assert source.features["mask"].names == ("pet", "background", "outline")
    assert len(source.features["label"].names) == 37  # it serves classification, too
    assert recipe.input_shape == (32, 32, 3)
    images, targets = batches(recipe, source)[0]
    assert images.shape == (2, 32, 32, 3)
    assert targets.shape == (2, 32, 32)


# Runs -----------------------------------------------------------------------------------------------------------------

HARD = {
    **TINY,
    "dataset": CELLS,
    "depth": 1,
    "epochs": 3,
    "dropout": 0.3,
    "elastic": 3.0,
    "w0": 5.0,
    "ema": 0.9,
    "loss": "both",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train("unet", directory=tmp_path_factory.mktemp("runs") / "run", quiet=True, **HARD)


@pytest.mark.rest
@pytest.mark.backend
def test_a_run_that_was_cut_short_ends_as_one_that_was_not(run, tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and len(zoo.Run.open(tmp_path / "run").history) == 1:
                raise OSError("the lights went out")

    with pytest.raises(OSError, match="the lights"), pytest.warns(UserWarning, match="Failing"):
        zoo.train("unet", directory=tmp_path / "run", quiet=True, callbacks=[Failing()], **HARD)
    assert_same(run, zoo.train(resume=tmp_path / "run", quiet=True))
    assert run.facts["status"] == "done"


@pytest.mark.slow
def test_evaluation_is_of_all_pixels_of_the_split(run):
    found = zoo.evaluate(run)
    model = zoo.load(run)
    counts = np.zeros((3, 3))
    for images, masks in zoo.dataset(model, "test").as_numpy_iterator():
        np.add.at(counts, (masks, model.predict_on_batch(images).argmax(axis=-1)), 1)
    both, each = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    occurs = each > 0
    assert found["mean_iou"] == pytest.approx(np.mean((both / (each - both))[occurs]), rel=1e-5)
    assert found["dice"] == pytest.approx(np.mean((2 * both / each)[occurs]), rel=1e-5)


def test_a_mask_is_of_its_pictures_size(run, tmp_path):
    pixels = RNG.integers(0, 256, (37, 53, 3)).astype("uint8")
    path = write(tmp_path / "one.png", pixels)
    by_path, by_array = zoo.predict(run, [path, pixels])
    assert by_path.mask.shape == (37, 53)
    np.testing.assert_array_equal(by_path.mask, by_array.mask)
    assert sum(by_path.shares.values()) == pytest.approx(1)
    assert by_path.shares["inside"] == pytest.approx((by_path.mask == 1).mean())
    by_path.write(tmp_path / "mask.png")
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "mask.png")), by_path.mask)


@pytest.fixture(scope="module", params=[{"norm": "batch"}, {"norm": "none", "skip": "gate"}], ids=str)
def model(request):
    return zoo.build("unet", **{**TINY, **request.param})


@pytest.mark.backend
@pytest.mark.parametrize("size", [(90, 131), (72, 72), (10, 200)])
def test_tiles_answer_as_the_whole_picture(model, size):
    far, step = model.recipe.reach, model.recipe.step
    picture = RNG.integers(0, 256, (*size, 1)).astype("uint8")
    frame = 8 * step  # so that nothing of the network's own padding is seen
    framed = np.pad(picture, [(frame, frame), (frame, frame), (0, 0)], mode="reflect").astype("float32")
    mirrored = model.predict_on_batch(framed[None])[0][frame:-frame, frame:-frame]
    whole = model.predict_on_batch(picture[None].astype("float32"))[0]
    found = np.full_like(whole, np.nan)
    for rows, columns, logits in tiles(model.predict_on_batch, picture, tile=75, overlap=2 * far, step=step):
        found[rows, columns] = logits
    scale = np.abs(whole).max()
    np.testing.assert_allclose(found, mirrored, atol=1e-4 * scale)
    inner = slice(far, -far - step)  # the last pixels see how the image was made to halve
    np.testing.assert_allclose(found[inner, inner], whole[inner, inner], atol=1e-4 * scale)


def test_an_unpadded_network_answers_whole_pictures_tiled_or_not():
    recipe = zoo.recipe("unet", padding="valid", **{**TINY, "input_shape": (60, 60, 1), "norm": "none"})
    model = recipe.build()
    zoo.base.models.attach(model, reader=recipe.default_reader())
    picture = RNG.integers(0, 256, (70, 93, 1)).astype("uint8")
    whole = next(recipe.ask(model, [picture]))
    assert whole.shape == (70, 93)
    tiled = next(recipe.ask(model, [picture], tile=72, overlap=0))
    inner = slice(0, -recipe.step)  # the last pixels see how the image was made to halve
    np.testing.assert_array_equal(tiled[inner, inner], whole[inner, inner])
    assert zoo.recipe("unet/original").default_reader().margin == 92


def test_tiles_hold_no_more_than_a_tile():
    asked = []

    def answer(batch):
        asked.append(batch.shape)
        return np.zeros((*batch.shape[:3], 2), "float32")

    covered = np.zeros((500, 333), int)
    for rows, columns, logits in tiles(answer, np.zeros((500, 333, 1), "uint8"), tile=100, overlap=33, step=4):
        covered[rows, columns] += 1
        assert logits.shape[:2] == covered[rows, columns].shape
    assert (covered == 1).all()
    assert len(set(asked)) == 1
    assert max(asked[0]) <= 100


@pytest.mark.parametrize(("options", "message"), [
    ({"tile": 16, "overlap": 16}, "tile must be at least 18 with overlap=16. Received: tile=16"),
    ({"tile": 0}, "tile must be a whole number"),
    ({"tile": 32, "overlap": -1}, "overlap must be a whole number"),
    ({"overlap": 8}, "without a tile"),
])  # fmt: skip
def test_tiles_that_cannot_be_are_refused(run, options, message):
    with pytest.raises(InputError, match=message):
        zoo.predict(run, np.zeros((40, 40, 1), "uint8"), **options)


def test_classification_has_no_tiles(finished):
    with pytest.raises(InputError, match="takes its inputs whole"):
        zoo.predict(finished, np.zeros((8, 8, 1), "uint8"), tile=32)


@pytest.mark.slow
def test_an_export_answers_any_size_as_the_run_does(run, tmp_path):
    zoo.export(run, tmp_path / "export")
    model = tf.saved_model.load(str(tmp_path / "export"))
    pixels = RNG.integers(0, 256, (2, 37, 53, 1)).astype("uint8")
    encoded = [tf.io.encode_png(one).numpy() for one in pixels]
    answers = model.signatures["serving_default"](image_bytes=tf.constant(encoded))
    assert answers["mask"].shape == (2, 37, 53)
    assert answers["probabilities"].shape == (2, 37, 53, 3)
    np.testing.assert_allclose(tf.reduce_sum(answers["probabilities"], axis=-1), 1.0, atol=1e-5)
    expected = zoo.predict(run, list(pixels))
    assert np.mean(answers["mask"].numpy() == [one.mask for one in expected]) > 0.999  # but for ties
    logits = zoo.load(run).predict_on_batch(pixels.astype("float32"))
    np.testing.assert_allclose(answers["logits"], logits, atol=1e-4 * np.abs(logits).max())
    raw = model.signatures["serve_images"](images=tf.constant(pixels))
    np.testing.assert_allclose(raw["logits"], answers["logits"], atol=1e-5)
    mixed = [encoded[0], tf.io.encode_png(pixels[0, :20]).numpy()]
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be of one size"):
        model.signatures["serving_default"](image_bytes=tf.constant(mixed))


def test_a_reader_mirrors_what_an_unpadded_network_loses():
    reader = MaskReader((60, 60, 1), ["a", "b"], margin=5)
    pixels = RNG.integers(0, 256, (2, 4, 9, 1)).astype("uint8")
    expected = np.pad(pixels, [(0, 0), (5, 5), (5, 5), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(reader.frame(pixels), expected)


def test_predict_writes_masks_and_spares_what_is_there(run, tmp_path, capsys, monkeypatch):
    from zoo import cli

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "big.png", RNG.integers(0, 256, (70, 45)).astype("uint8"))

    def call(*arguments):
        cli.main(["predict", str(run.path), "big.png", *arguments])
        return capsys.readouterr().out

    assert re.fullmatch(r"big.png  \w+ [\d.]+%   \w+ [\d.]+%   \w+ [\d.]+%\n", call("--tile", "48", "--overlap", "16"))
    assert np.asarray(PIL.Image.open("predictions/big.png")).shape == (70, 45)
    header = call("--masks", "more", "--csv").splitlines()[0]
    assert header == "input,label_1,share_1,label_2,share_2,label_3,share_3"
    with pytest.raises(SystemExit) as ended:
        call()
    assert ended.value.code == 2
    assert "predictions/big.png exists: name another folder with --masks" in capsys.readouterr().err


@pytest.mark.slow
def test_a_report_shows_classes_and_pictures(run):
    page = zoo.report(run).read_text()
    for title in ("Classes", "Confusion matrix", "Examples", "Worst images", "mean IoU"):
        assert title in page
    assert (run.path / "report" / "worst.png").exists()
