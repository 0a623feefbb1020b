"""Seeds and dtype policy of a block of code; the states before are restored on exit."""

import contextlib
import random
import sys
from collections.abc import Iterator

import keras
import numpy as np


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeds the generators of Python, NumPy and torch for a block of code; restores their states on exit.

    Keras draws the seeds of initialisers and of dropout from Python's generator.
    """
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    seed_generators(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch is not None:
            torch.set_rng_state(states[2])


def seed_generators(seed: int) -> None:
    """Seeds the generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets Keras's global dtype policy for a block of code; restores it on exit."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
