import keras
import numpy as np
import pytest

import zoo
from zoo.data.mixing import Mixing
from zoo.objective.losses import SmoothedCrossentropy
from zoo.objective.metrics import Accuracy

SHAPE = (16, 8, 12, 1)
LABELS = np.arange(16)  # each image is full of its label


def mix(mixup, cutmix, seed=(3, 4), *weights):
    import tensorflow as tf

    pictures = np.broadcast_to(LABELS[:, None, None, None], SHAPE).astype("float32")
    mixing = Mixing(mixup=mixup, cutmix=cutmix, classes=16)
    return [one.numpy() for one in mixing(tf.constant(pictures), tf.constant(LABELS), *weights, seed=tf.constant(seed))]


def neighbours(labels):
    """(share of its own label, share of the next image's) of each row; they are all there is."""
    own, other = labels[LABELS, LABELS], labels[LABELS, np.roll(LABELS, -1)]
    np.testing.assert_allclose(own + other, 1, atol=1e-6)
    return own, other


def test_mixup_blends_picture_and_label_alike():
    pictures, labels = mix(0.5, 0.0)
    own, other = neighbours(labels)
    blended = own * LABELS + other * np.roll(LABELS, -1)
    np.testing.assert_allclose(pictures, np.broadcast_to(blended[:, None, None, None], SHAPE), atol=1e-4)
    assert ((own > 0.01) & (own < 0.99)).any()


def test_cutmix_gives_the_label_the_area_that_is_left():
    pictures, labels = mix(0.0, 1.0)
    own, _ = neighbours(labels)
    kept = pictures[..., 0] == LABELS[:, None, None]
    assert (kept | (pictures[..., 0] == np.roll(LABELS, -1)[:, None, None])).all()
    np.testing.assert_allclose(kept.mean((1, 2)), own, atol=1e-6)
    for row in ~kept:  # a box: the product of its rows and its columns
        np.testing.assert_array_equal(row, np.outer(row.any(1), row.any(0)))


def test_both_take_turns():
    boxes = [set(np.unique(mix(1.0, 1.0, (seed, 0))[0])) <= set(LABELS.astype(float)) for seed in range(20)]
    assert 0 < sum(boxes) < 20


def test_the_seed_decides():
    for kind in ((0.3, 0.0), (0.0, 0.3)):
        np.testing.assert_array_equal(mix(*kind)[0], mix(*kind)[0])
        assert (mix(*kind)[0] != mix(*kind, (3, 5))[0]).any()


def test_weights_are_mixed_too_and_nothing_is_mixed_without_alpha():
    weights = LABELS.astype("float32")
    pictures, labels, mixed = mix(0.5, 0.0, (3, 4), weights)
    np.testing.assert_allclose(mixed, pictures[:, 0, 0, 0], atol=1e-5)
    pictures, labels = mix(0.0, 0.0)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_accuracy_take_distributions(smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 4)).astype("float32")
    target = rng.dirichlet(np.ones(4), size=5).astype("float32")
    ours = SmoothedCrossentropy(smoothing)(target, logits)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(target, logits)
    np.testing.assert_allclose(float(ours), float(theirs), rtol=1e-5)
    metric = Accuracy()
    metric.update_state(target, logits)
    np.testing.assert_allclose(float(metric.result()), (target.argmax(1) == logits.argmax(1)).mean())


@pytest.mark.slow
def test_a_recipe_trains_with_both():
    model = zoo.build("lenet", dataset="digits", mixup=0.2, cutmix=1.0, class_weight="balanced")
    history = model.fit(
        zoo.dataset(model, "train").take(3), validation_data=zoo.dataset(model, "validation"), shuffle=False, verbose=0
    ).history
    assert np.isfinite([history["loss"], history["val_loss"], history["accuracy"], history["val_accuracy"]]).all()
