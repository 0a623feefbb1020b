import pickle

import pytest

from zoo import fields
from zoo.errors import InputError


class Thing(fields.Declared):
    size: int = fields.integer(default=3, legal=(1, 10), search=(1, 8), help="how large")
    rate: float = fields.real(default=0.1, legal=(0, 1), help="how fast")
    kind: str = fields.choice("plain", "fancy", default="plain", help="which")
    groups: int = fields.integer(default=2, legal=(1, 8), when={"kind": "fancy"}, help="how many groups")
    shape: tuple = fields.integers(default=(4, 4, 1), legal=(1, 99), help="height, width, channels")
    cuts: tuple = fields.reals(default=(0.5,), legal=(0, 1), length=0, help="where")
    note: str | None = fields.text(default=None, optional=True, help="anything")
    mode: object = fields.choice("auto", True, False, default="auto", help="three ways")
    deep: int = fields.integer(default=1, legal=(0, 9), when={"groups": fields.above(2)}, help="under groups")


class Larger(Thing, size=5):
    pass


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "4", 4),
        ("rate", "1e-2", 0.01),
        ("kind", "FANCY", "fancy"),
        ("shape", "8,8,3", (8, 8, 3)),
        ("shape", "8x8x3", (8, 8, 3)),
        ("cuts", "0.1,0.2,0.3", (0.1, 0.2, 0.3)),
        ("note", "none", None),
        ("mode", "true", True),
        ("mode", "auto", "auto"),
    ],
)
def test_text_is_read_and_shown_alike(name, text, value):
    field = Thing.field(name)
    assert field.parse(name, text) == value
    assert field.parse(name, fields.show(value)) == value


@pytest.mark.parametrize(("name", "text"), [
    ("size", "0"), ("size", "11"), ("size", "2.5"), ("size", "many"), ("rate", "nan"), ("rate", "inf"), ("rate", "-1"),
    ("kind", "fanci"), ("shape", "8,8"), ("shape", "8,8,x"), ("mode", "maybe"), ("cuts", "2"), ("size", ""),
    ("cuts", ""), ("note", ""), ("shape", "8,,8"),
])  # fmt: skip
def test_bad_text_names_field_value_and_what_is_allowed(name, text):
    with pytest.raises(InputError, match=f"^{name} must be .*Received: {name}="):
        Thing.field(name).parse(name, text)


@pytest.mark.parametrize("value", [True, 2.0, "3", None, (3,)])
def test_values_are_not_coerced_across_types(value):
    with pytest.raises(InputError):
        Thing(size=value)


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'groups'"):
        Thing.field("group")
    with pytest.raises(InputError, match="Did you mean 'fancy'"):
        Thing(kind="fanci")


def test_a_class_keyword_changes_a_default_and_nothing_else():
    assert Larger().size == 5
    assert Thing().size == 3
    assert Larger.fields()["size"].legal == (1, 10)
    assert Larger(size=3).values() == Thing().values()
    with pytest.raises(TypeError, match="Did you mean 'size'"):
        type("Wrong", (Thing,), {}, sice=3)
    with pytest.raises(InputError, match="size must be"):
        type("Wrong", (Thing,), {}, size=99)


def test_instances_are_frozen_hashable_equal_and_survive_pickling():
    thing = Thing(size=4)
    assert thing == Thing(size=4) != Thing(size=5)
    assert hash(thing) == hash(Thing(size=4))
    assert pickle.loads(pickle.dumps(thing)) == thing
    with pytest.raises(AttributeError):
        thing.size = 5


def test_a_value_without_effect_is_an_error_when_given_and_falls_back_when_not():
    with pytest.raises(InputError, match="groups=3 has no effect: it counts only with kind=fancy"):
        Thing(groups=3)
    with pytest.raises(InputError, match="no effect"):
        Thing.normal({"groups": 2}, given={"groups"})  # its default, but asked for
    assert Thing.normal({"groups": 3})["groups"] == 2
    assert Thing.normal({"groups": 3, "kind": "fancy"})["groups"] == 3


def test_conditions_are_transitive():
    assert Thing.normal({"kind": "fancy", "groups": 4, "deep": 3})["deep"] == 3
    assert Thing.normal({"kind": "plain", "groups": 4, "deep": 3})["deep"] == 1
    assert Thing.normal({"kind": "fancy", "groups": 2, "deep": 3})["deep"] == 1


def test_what_would_hide_a_field_raises_when_the_class_is_made():
    with pytest.raises(TypeError, match="hide the inherited field 'size'"):
        type("Hiding", (Thing,), {"size": 4})
    with pytest.raises(TypeError, match="a method of a base class"):
        type("Method", (Thing,), {"values": fields.real(default=0.5, legal=(0, 1), help=""),
                                  "__annotations__": {"values": float}})  # fmt: skip
    with pytest.raises(TypeError, match="not declared by a function"):
        type("Bare", (Thing,), {"__annotations__": {"length": int}})


def test_a_sweep_reaches_every_field_and_only_legal_values():
    reached = set()
    for name, active, other in fields.sweep(Thing, Thing().values(), samples={"note": "hello"}):
        assert not Thing.inactive(name, active)
        assert Thing.normal(active)[name] != Thing.normal(other)[name]
        reached.add(name)
    assert reached == set(Thing.fields())


class _Nothing:
    """keras-tuner's HyperParameters with nothing chosen."""

    def Int(self, name, low, high, default=None, sampling=None):
        return default

    def Float(self, name, low, high, default=None, sampling=None):
        return default

    def Choice(self, name, values, default=None):
        assert all(type(value) is type(values[0]) for value in values)
        return default


@pytest.mark.parametrize(
    "field",
    [
        fields.Choice(default=None, optional=True, choices=("a", 1), search=(None, "a", 1), help=""),
        fields.Sequence(default=(1, 2), item=fields.Integer(default=None, help=""), search=((1, 2), (3, 4)), help=""),
        fields.Flag(default=True, search=(True, False), help=""),
        fields.Real(default=0.5, search=(0.1, 0.9), help=""),
    ],
)
def test_the_search_space_speaks_keras_tuners_types(field):
    assert field.suggest("x", _Nothing(), field.default) == field.default


def test_fields_of_several_bases_come_together():
    class First(fields.Declared):
        a: int = fields.integer(default=1, legal=(0, 9), help="a")

    class Second(fields.Declared):
        b: int = fields.integer(default=2, legal=(0, 9), help="b")

    class Both(First, Second, a=3, b=4):
        c: int = fields.integer(default=5, legal=(0, 9), help="c")

    assert Both().values() == {"b": 4, "a": 3, "c": 5}
    assert (First().a, Second().b) == (1, 2)
    with pytest.raises(TypeError, match="no inherited field 'd'"):

        class Neither(First, Second, d=1):
            pass
