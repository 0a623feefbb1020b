"""The lowest versions that pyproject.toml allows work together: each minimum was tried, and is tried again here."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMOKE = """
import importlib.metadata, pathlib, sys
import numpy as np, tensorflow as tf
import zoo
run = zoo.train("lenet", epochs=1, directory="run", quiet=True)
accuracy = zoo.evaluate(run)["accuracy"]
page = zoo.report(run)
folder = zoo.export(run, "exported")
said = zoo.predict(run, [np.zeros((8, 8, 1), "uint8")])
study = zoo.tune("mlp", space={"units": "4,8"}, fixed={"dataset": "iris", "epochs": 1}, max_trials=3, quiet=True)
assert accuracy > 0.2 and page.exists() and folder.exists() and len(said) == 1 and len(study.trials) == 2
print("smoke passed")
"""


def floors():
    """{distribution: its lowest version} of pyproject.toml's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(re.match(r"([\w.-]+)>=([\d.]+)", line).groups() for line in project["dependencies"])


@pytest.mark.slow
def test_the_lowest_versions_that_are_allowed_train_report_export_and_tune(tmp_path):
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the lowest versions have wheels for Python 3.11 alone")
    python = tmp_path / "venv" / "bin" / "python"
    pins = tmp_path / "lowest.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in floors().items()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KERAS", "XLA"))}
    environment = kept | {"TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*command, cwd=tmp_path):
        done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    source = tmp_path / "source"  # building writes into the tree that it builds
    for name in ("zoo", "layers", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "--constraint", pins, source)
    listed = "import importlib.metadata as m, sys; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]))"
    print(run(python, "-c", listed, *floors()))
    assert "smoke passed" in run(python, "-c", SMOKE)
