"""Arrays that tests of layers begin with and compare."""

import keras
import numpy as np

RNG = np.random.default_rng(0)
"""Begins anew with every test: see conftest.py."""


def reseed():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def close(ours, theirs, atol=1e-5):
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=0, atol=atol)
