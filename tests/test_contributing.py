"""CONTRIBUTING.md takes a newcomer to a recipe and a layer: its files, as they stand there, in a package apart."""

import os
import pathlib
import re
import sys

import pytest

from tests import warm

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files(page):
    """{name: text} of the fenced blocks that a comment gives a file's name."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


def test_a_newcomers_recipe_is_found_through_its_entry_point_trains_and_keeps_the_laws(tmp_path):
    found = files("CONTRIBUTING.md")
    assert found["tiny_net.py"].count("\n") < 40
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("raise ImportError('listing must not import the package')\n")
    (tmp_path / "my_package" / "tiny_net.py").write_text(found["tiny_net.py"])
    (tmp_path / "test_tiny_net.py").write_text(found["test_tiny_net.py"])
    metadata = tmp_path / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zoo.recipes]\ntiny_net = my_package.tiny_net:TinyNet\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    def run(*arguments):
        command = [sys.executable, "-m", *arguments]
        done = warm.run(command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert re.search(r"^tiny_net +image_classification +A convolution.*wide", run("zoo", "list"), re.MULTILINE)
    (tmp_path / "my_package" / "__init__.py").write_text("")
    assert "Done" in run("zoo", "train", "tiny_net/wide", "epochs=1", "--directory", "run")
    assert "1 passed" in run("pytest", "-q", "-p", "no:cacheprovider", "test_tiny_net.py")
    assert "Done" in run("zoo", "train", "./my_package/tiny_net.py", "epochs=1", "--directory", "by-file")


@pytest.mark.backend
def test_a_newcomers_layer_keeps_the_laws(tmp_path):
    found = files("CONTRIBUTING.md")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "leaky_sum.py").write_text(found["leaky_sum.py"])
    (tmp_path / "test_leaky_sum.py").write_text(found["test_leaky_sum.py"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-W", "default", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_leaky_sum.py"]
    done = warm.run(command, cwd=tmp_path, env=environment)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "ResourceWarning" not in done.stderr
