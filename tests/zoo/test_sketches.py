"""Fields that are read from the source, before Keras is loaded, are those of the classes."""

import dataclasses

import pytest

import zoo
from zoo import registry


@pytest.mark.parametrize("name", registry.names())
def test_a_sketch_has_the_fields_of_its_class(name):
    def told(cls):
        whens = {name: {other: one.text for other, one in field.conditions()} for name, field in cls.fields().items()}
        return [(name, dataclasses.replace(field, when=whens[name])) for name, field in cls.fields().items()]

    cls, sketch = registry.find(name)[0], registry.sketch(name)
    assert told(sketch) == told(cls)
    assert sketch.variants == cls.variants
    assert not issubclass(cls, sketch)


SOURCE = """
import keras
from zoo.fields import integer
from zoo.tasks import ImageClassification

MOST = 4

class Mine(ImageClassification, epochs=2):
    variants = {"big": {"width": 3}}
    width: int = integer(default=1, legal=(1, MOST), help="x")

class Layer(keras.layers.Layer):
    size: int = 3
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path / "mine.py"


def test_a_sketch_of_a_file_is_of_its_last_recipe(path):
    assert registry.sketch(str(path)).field("width").legal == (1, 4)
    assert registry.sketch(f"{path}/big").field("epochs").default == 2
    with pytest.raises(zoo.InputError, match="Unknown variant"):
        registry.sketch(f"{path}/small")


@pytest.mark.parametrize(("old", "new"), [
    ("MOST = 4", "MOST = keras.x"), ("MOST = 4", "MOST ="), ("MOST = 4", ""), ("Mine(", "Mine(keras.Mixin, "),
    ("ImageClassification", "Segmentatoin"),
])  # fmt: skip
def test_what_the_source_does_not_tell_has_no_sketch(path, old, new):
    path.write_text(SOURCE.replace(old, new))
    assert registry.sketch(str(path)) is None


def test_what_is_not_there_has_no_sketch():
    assert registry.sketch("nobody") is None
    assert registry.sketch("./nothing.py") is None
