"""Published networks of images answer as in their libraries, from the file to the probabilities."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from safetensors.numpy import save_file

import zoo
from tests.artefacts.pretrained.drawing import drawn
from tests.zoo.test_pretrained import ARTEFACTS, _torch_resnet
from zoo.registry import config_of, find
from zoo.runs import Pretrained
from zoo.weights import hub, imagenet
from zoo.weights.layout import classes_of, labels_of

IMAGES = ARTEFACTS / "images"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZES = ((375, 500), (500, 333), (256, 256), (768, 1024))

ALONE = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
files = [tf.io.read_file(path) for path in sys.argv[3:]]
answers = model.signatures["serving_default"](image_bytes=tf.stack(files))
assert not {"zoo", "torch"} & set(sys.modules)
np.save(sys.argv[2], answers["probabilities"].numpy())
"""


def photograph(height, width, seed):
    """Light that changes slowly, disks with edges, and the noise of a sensor: uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype("float32")
    light = [128 + 80 * np.sin(x / 40 + y / 70), 110 + 70 * np.cos(x / 55 - y / 30), 90 + 60 * np.sin((x + y) / 60)]
    image = np.stack(light, axis=-1)
    for _ in range(60):
        row, column, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(5, 60)
        image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.uniform(0, 255, 3)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype("uint8")


def as_torchvision(path):
    """What `ResNet50_Weights.IMAGENET1K_V1.transforms()` makes of a file: float32 (3, 224, 224).

    Resize(256) and CenterCrop(224) of torchvision are these operations of Pillow.
    """
    image = PIL.Image.open(path).convert("RGB")
    width, height = image.size
    size = (256, int(256 * height / width)) if width < height else (int(256 * width / height), 256)
    image = image.resize(size, PIL.Image.Resampling.BILINEAR)
    left, top = (round((edge - 224) / 2.0) for edge in size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), "float32") / 255
    return ((pixels - MEAN) / STD).astype("float32").transpose(2, 0, 1)


@pytest.mark.slow
def test_resnet_50_gives_torchvisions_probabilities_of_photographs(tmp_path):
    """In `zoo predict`, and in the SavedModel, in a process that has TensorFlow alone."""
    torch = pytest.importorskip("torch")
    paths = []
    for seed, size in enumerate(SIZES):
        paths.append(str(tmp_path / f"{seed}.jpg"))
        PIL.Image.fromarray(photograph(*size, seed)).save(paths[-1], quality=90)
    images = torch.from_numpy(np.stack([as_torchvision(path) for path in paths]))
    net = _torch_resnet(50, classes=1000)
    for part in net.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        net.train()(images)  # batch norms take the averages of the images, so that these are told apart
        logits = net.eval()(images)
        gain = 4 / (logits - logits.mean(0)).std()
        net.fc.weight *= gain
        net.fc.bias.copy_((net.fc.bias - logits.mean(0)) * gain)
        expected = torch.softmax(net(images), dim=1).numpy()
    assert (expected.max(1) > 0.1).all()
    assert np.abs(expected[0] - expected[1]).max() > 0.1  # neither flat nor the same of all
    source = tmp_path / "resnet50.pth"  # alone: what it is, its names and shapes say
    torch.save(net.state_dict(), source)

    predicted = zoo.predict(source, paths)
    assert [answer.label for answer in predicted] == [imagenet.names()[number] for number in expected.argmax(1)]
    found = np.array([[answer.probabilities[name] for name in imagenet.names()] for answer in predicted])
    np.testing.assert_allclose(found, expected, atol=5e-4)
    exported = zoo.export(source, tmp_path / "exported")
    command = [sys.executable, "-I", "-c", ALONE, str(exported), str(tmp_path / "answers.npy"), *paths]
    subprocess.run(command, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, atol=5e-4)


# Names of ImageNet's classes --------------------------------------------------------------------------------------


def timm(tag, classes=1000, **more):
    return {"architecture": "resnet18", "num_classes": classes, "pretrained_cfg": {"tag": tag}, **more}


def test_imagenet_has_1000_names():
    names = imagenet.names()
    assert len(set(names)) == imagenet.CLASSES == 1000
    assert all(name and name == name.strip() for name in names)
    assert (names[0], names[207], names[999]) == ("tench", "golden retriever", "toilet tissue")


@pytest.mark.parametrize("tag", ["a1_in1k", "tv2_in1k", "augreg_in21k_ft_in1k", "in1k", "laion2b_ft_in12k_in1k_384"])
def test_a_tag_of_timm_says_that_classes_are_those_of_imagenet(tag):
    assert labels_of(timm(tag)) == imagenet.names()
    assert classes_of(timm(tag)) == 1000


@pytest.mark.parametrize("config", [
    timm("a1_in1k", classes=7), timm("augreg_in21k"), timm("a1_in1k_ft_pets"), timm("xin1k"), timm(None),
    {"architecture": "resnet18", "num_classes": 1000}, {"num_classes": 1000, "pretrained_cfg": None},
    {"architectures": ["ResNetForImageClassification"], "num_labels": 1000},
])  # fmt: skip
def test_other_classes_have_no_names(config):
    assert labels_of(config) is None


def test_what_a_config_says_of_its_classes_wins():
    letters = [f"class {number}" for number in range(1000)]
    assert labels_of(timm("a1_in1k", label_names=letters)) == tuple(letters)
    assert labels_of(timm("a1_in1k", id2label={str(n): name for n, name in enumerate(letters)})) == tuple(letters)


def test_a_checkpoint_of_timm_names_its_classes(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(timm("a1_in1k")))
    pretrained = Pretrained(tmp_path)
    assert pretrained.recipe.label == "resnet/18"
    assert pretrained.reader().labels == imagenet.names()


def zeros(shapes):
    """{name: tensor} of so many zeros, which take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("depth", [18, 50])
def test_a_file_of_torchvision_is_known_by_its_names(depth):
    """With ImageNet's classes and torchvision's pixels; its second weights are cropped otherwise."""
    recipe, _, _ = find("resnet")
    (bare,) = [family.bare for family in recipe.families if family.bare is not None]
    shapes = json.loads((IMAGES / f"resnet{depth}_timm" / "shapes.json").read_text())
    whole = {**shapes, "fc.bias": (1000,)}
    config = bare(zeros(whole), lambda: "0676ba61...")
    assert labels_of(config) == imagenet.names()
    values = recipe.families[1].values(config)
    assert (values["depth"], values["input_shape"], values["crop_fraction"]) == (depth, (224, 224, 3), 0.875)
    assert (list(values["mean"]), list(values["std"]), values["interpolation"]) == (MEAN, STD, "bilinear")
    second = recipe.families[1].values(bare(zeros(whole), lambda: "11ad3fa6..."))
    assert int(224 / second["crop_fraction"]) == 232
    wide = {**whole, "layer1.0.conv1.weight": (128, *shapes["layer1.0.conv1.weight"][1:])}
    shallow = {name: shape for name, shape in whole.items() if not name.startswith("layer4.1.")}
    for other in (shapes, wide, shallow, {"fc.bias": (1000,)}, {}):
        assert bare(zeros(other), lambda: "") is None


def test_a_file_that_no_recipe_knows_is_refused(tmp_path):
    save_file({"fc.bias": np.zeros(1000, "float32")}, tmp_path / "net.safetensors")
    assert config_of(hub.locate(tmp_path / "net.safetensors"), [find("resnet")[0]]) is None
    with pytest.raises(zoo.InputError, match=r"net.safetensors has no config.json beside it. Name the recipe"):
        zoo.load(tmp_path / "net.safetensors")


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
@pytest.mark.parametrize("name", sorted(path.name for path in IMAGES.iterdir()))
def test_a_network_of_images_answers_as_in_its_library(name, tmp_path):
    """transformers and timm gave the logits; the weights are drawn again from the names and shapes of theirs."""
    expected, shapes = np.load(IMAGES / name / "expected.npz"), json.loads((IMAGES / name / "shapes.json").read_text())
    shutil.copytree(IMAGES / name, tmp_path / name)
    save_file(drawn(shapes), tmp_path / name / "model.safetensors")
    model = zoo.load(tmp_path / name)
    assert model.recipe.name == name.partition("_")[0].rstrip("0123456789")
    assert model.input_shape[1:] == expected["images"].shape[1:]
    found = model.predict_on_batch(expected["images"].astype("float32"))
    np.testing.assert_allclose(found, expected["logits"], atol=1e-5 * np.abs(expected["logits"]).max())
    assert np.abs(np.diff(expected["logits"], axis=0)).max() > 1e-3 * np.abs(expected["logits"]).max()
