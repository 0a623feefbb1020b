"""Training steps of vision recipes against the same networks in plain Keras and in PyTorch: ratios in one run.

    KERAS_BACKEND=tensorflow python benchmarks/vision.py       (or jax, torch)

A step is forward, backward and SGD with momentum on a batch that is ready in memory; ours and Keras's by `model.fit`
over a few batches. ResNet-20 takes 128 images of 32 x 32 x 3; a U-Net of 32 filters, 4 levels and batch norm 8 of
128 x 128 x 3. PyTorch runs in a process of its own, eagerly, with channels last, and compiled. A ratio is the median
over rounds of the two in turn, with its 95 % interval; below 1, ours is quicker.

Besides: that ResNet-18 and ResNet-50 answer as PyTorch's do, given the same weights; how much faster batches come out
of the pipeline than steps consume them; and how long ResNet-110 takes to build.
"""

import functools
import time

import keras
import numpy as np
from _pairs import paired, run, show

import zoo

BATCHES = 2
PEERS = ("eager", "channels-last", "compiled")


def resnet_in_keras():
    """ResNet-20 as a Keras user writes it."""

    def convolve(x, filters, strides=1):
        if strides > 1:
            x = keras.layers.ZeroPadding2D(1)(x)
        padding = "same" if strides == 1 else "valid"
        x = keras.layers.Conv2D(filters, 3, strides, padding, use_bias=False, kernel_initializer="he_normal")(x)
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    x = images = keras.Input((32, 32, 3))
    x = keras.layers.ReLU()(convolve(keras.layers.Rescaling(1 / 64, -2)(x), 16))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            y = keras.layers.ReLU()(convolve(x, filters, strides))
            y = convolve(y, filters)
            if strides > 1:
                x = x[:, ::2, ::2]
                x = keras.ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, filters // 2)])
            x = keras.layers.ReLU()(x + y)
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, x)


def unet_in_keras():
    """The U-Net as a Keras user writes it."""

    def convolve(x, filters):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
        return x

    x = images = keras.Input((128, 128, 3))
    x, seen = keras.layers.Rescaling(1 / 127.5, -1)(x), []
    for level in range(4):
        x = convolve(x, 32 * 2**level)
        seen.append(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = convolve(x, 512)
    for level in reversed(range(4)):
        x = keras.layers.Conv2DTranspose(32 * 2**level, 2, 2)(x)
        x = convolve(keras.layers.Concatenate()([seen[level], x]), 32 * 2**level)
    return keras.Model(images, keras.layers.Conv2D(2, 1)(x))


def trainer(model, images, labels, jit_compile):
    """A callable that trains `model` on a few batches."""
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensors((images, labels)).repeat(BATCHES).prefetch(2)
    else:
        batches = Batches(images, labels)
    return lambda: model.fit(batches, shuffle=False, verbose=0)


class Batches(keras.utils.PyDataset):
    """The same batch a few times."""

    def __init__(self, *batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return self.batch


def modes():
    """{name of a way in which this backend runs a step: jit_compile}"""
    return {"tensorflow": {"graph": False, "XLA": True}, "jax": {"jit": True}, "torch": {"eager": False}}[
        keras.backend.backend()
    ]


def steps(name, make_ours, make_theirs, shape, targets, options):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, shape).astype("float32")
    labels = rng.integers(0, targets[0], targets[1:])
    for mode, jit in modes().items():
        ours = trainer(make_ours(), images, labels, jit)
        theirs = trainer(make_theirs(), images, labels, jit)
        show(f"{name}, {mode}, to plain Keras", paired(ours, theirs, rounds=options.rounds), "at most 1.02")
        for peer in options.peers:
            from _torch_networks import Worker

            worker = Worker(name, peer)
            result = paired(ours, functools.partial(worker, BATCHES), rounds=options.rounds)
            worker.close()
            show(f"{name}, {mode}, to PyTorch {peer}", result, "at most 1.1" if name == "unet" else "")


def resnet20(options):
    make = functools.partial(zoo.build, "resnet/20")
    steps("resnet20", make, resnet_in_keras, (128, 32, 32, 3), (10, 128), options)


def unet(options):
    make = functools.partial(zoo.build, "unet", filters=32, depth=4, input_shape=(128, 128, 3), classes=2)
    steps("unet", make, unet_in_keras, (8, 128, 128, 3), (2, 8, 128, 128), options)


def logits(options):
    """ResNet-18 and -50 with one set of random weights and statistics, here and in PyTorch: the largest difference."""
    import torch
    from _torch_networks import resnet

    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    for depth in (18, 50):
        ours, theirs = zoo.build(f"resnet/{depth}"), resnet(depth).eval()
        ours.set_weights([_drawn(weight, rng) for weight in ours.weights])
        for kind, native, put in (
            (keras.layers.Conv2D, torch.nn.Conv2d, _put_convolution),
            (keras.layers.BatchNormalization, torch.nn.BatchNorm2d, _put_norm),
            (keras.layers.Dense, torch.nn.Linear, _put_dense),
        ):
            mine = [layer for layer in _inner(ours) if isinstance(layer, kind)]
            modules = [module for module in theirs.modules() if isinstance(module, native)]
            with torch.no_grad():
                for layer, module in zip(mine, modules, strict=True):
                    put([torch.tensor(keras.ops.convert_to_numpy(weight)) for weight in layer.weights], module)
        found = keras.ops.convert_to_numpy(ours(images, training=False))
        with torch.no_grad():
            expected = theirs(torch.tensor(images / 64 - 2).permute(0, 3, 1, 2)).numpy()
        error, size = np.abs(found - expected).max(), np.abs(expected).max()
        print(
            f"{f'ResNet-{depth}: largest difference of logits to PyTorch':<56}{error:.1e} of {size:.1f}, at most 1e-4"
        )


def _inner(layer):
    """All layers within, a block's before those of the next."""
    yield layer
    for one in layer._layers:
        yield from _inner(one)


def _drawn(weight, rng):
    """Random values for what does not begin random, such that logits of 50 layers stay about 1."""
    shape = tuple(weight.shape)
    match weight.path.rpartition("/")[2]:
        case "moving_variance":
            return rng.uniform(1, 3, shape)
        case "gamma":
            return rng.uniform(0.2, 0.6, shape)
        case "beta" | "moving_mean" | "bias":
            return rng.normal(0, 0.1, shape)
    return keras.ops.convert_to_numpy(weight)


def _put_convolution(weights, module):
    module.weight.copy_(weights[0].permute(3, 2, 0, 1))


def _put_norm(weights, module):
    for value, target in zip(
        weights, (module.weight, module.bias, module.running_mean, module.running_var), strict=True
    ):
        target.copy_(value)


def _put_dense(weights, module):
    module.weight.copy_(weights[0].T)
    module.bias.copy_(weights[1])


def feed(options):
    """How many times as long steps take as the pipeline takes for their batches, nobody training meanwhile."""
    if keras.backend.backend() != "tensorflow":
        return
    for name in ("resnet", "unet"):
        recipe, model = zoo.recipe(name), zoo.build(name)
        data = zoo.dataset(recipe, "train").take(16)
        count, batch = len(list(data)), next(iter(data))
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), recipe.make_loss(), jit_compile=False)

        def consume(model=model, batch=batch, count=count):
            for _ in range(count):
                model.train_on_batch(*batch)

        def draw(data=data):
            for _ in data:
                pass

        result = paired(consume, draw, rounds=max(3, options.rounds // 4), warmup=1)
        show(f"{name}: {count} steps to the batches that feed them", result, "at least 3")


def deep(options):
    """Seconds to build ResNet-110, and for its first step, compiled."""
    start = time.perf_counter()
    model = zoo.build("resnet/110")
    built = time.perf_counter()
    images, labels = np.zeros((8, 32, 32, 3), "float32"), np.zeros((8,), "int32")
    model.train_on_batch(images, labels)
    stepped = time.perf_counter()
    print(f"{'ResNet-110, seconds to build':<48}{built - start:>7.2f}   below 5")
    print(f"{'ResNet-110, seconds for the first step':<48}{stepped - built:>7.2f}")


PARTS = {"logits": logits, "resnet20": resnet20, "unet": unet, "feed": feed, "deep": deep}

if __name__ == "__main__":
    run(__doc__, PARTS, PEERS, f"{BATCHES} steps, on {keras.backend.backend()}")
