"""JAX and torch build without TensorFlow."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_building_imports_no_tensorflow(backend):
    pytest.importorskip(backend)
    code = (
        "import sys, zoo, zoo.layers\n"
        "model = zoo.build('lenet', dropout=0.1)\n"
        "assert model.count_params() == 61_750\n"
        "assert 'tensorflow' not in sys.modules, 'TensorFlow was imported'\n"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
