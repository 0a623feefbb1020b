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
    source = tmp_path / "resnet50"
    source.mkdir()
    save_file({name: one.numpy() for name, one in net.state_dict().items()}, source / "model.safetensors")
    cfg = {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bilinear", "mean": MEAN, "std": STD}
    (source / "config.json").write_text(
        json.dumps({"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": cfg})
    )

    predicted = zoo.predict(source, paths)
    found = np.array([[answer.probabilities[str(number)] for number in range(1000)] for answer in predicted])
    np.testing.assert_allclose(found, expected, atol=5e-4)
    exported = zoo.export(source, tmp_path / "exported")
    command = [sys.executable, "-I", "-c", ALONE, str(exported), str(tmp_path / "answers.npy"), *paths]
    subprocess.run(command, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, atol=5e-4)


IMAGES = ARTEFACTS / "images"


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
