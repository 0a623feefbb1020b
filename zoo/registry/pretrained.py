"""Recipes of pretrained sources: which recipe a checkpoint is of, and with which values."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo import fields
from zoo.errors import InputError
from zoo.registry.finding import every, find, names
from zoo.weights import hub
from zoo.weights.layout import FREE, Checkpoint, Config, Family, classes_of

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

YIELDING = ("classes", "input_shape", "vocabulary", "tokens", "length", "dataset")
"""Fields that a variant does not insist on, when a checkpoint says otherwise."""

CHOSEN = ("classes", "input_shape", "length", "answer_length", "temperature", "top_k", "top_p")
"""Fields in which the caller is followed, and not the checkpoint: another head, other sizes, another way to write."""


ONE_CLASS = "single_label_classification"
"""What transformers calls it that an input is of one class."""

_ASIDE = {*FREE, "classes", "vocabulary", "tokens", "answer_length", "temperature", "top_k", "top_p"}
"""Fields that a checkpoint need not say as a recipe has them."""


def config_of(located: hub.Located, classes: "Iterable[type[Recipe]]") -> Config | None:
    """Returns what a checkpoint says that it is; of a file without config.json, what one of the recipes `classes` knows
    it to be; None where none does."""
    config = located.config()
    if config is not None:
        return config
    from zoo.weights.tensors import open_tensors

    known = [family.bare for cls in classes for family in cls.families if family.bare is not None]
    tensors = open_tensors(located.path) if known else {}
    found = (bare(tensors, lambda: located.digests[located.path.name]) for bare in known)
    return next((one for one in found if one is not None), None)


def recipe_of(located: hub.Located) -> "Recipe":
    """Returns the recipe, with its values, of a checkpoint that says in its config.json what it is.

    Raises: `InputError` for an architecture that no recipe has.
    """
    config = config_of(located, (cls for _, cls in every()))
    if config is None:
        raise InputError(
            f"{located.source} has no config.json beside it. Name the recipe: "
            f'zoo.build("resnet/50", init_from="{located.source}").'
        )
    for base, cls in every():
        for family in cls.families:
            if _is_of(family.architectures if family.loads is None else family.loads, config):
                if "classes" in cls.fields() and config.get("problem_type", ONE_CLASS) not in (None, ONE_CLASS):
                    raise InputError(
                        f"{located.source} has problem_type={config['problem_type']}, which no recipe reads."
                    )
                values = _values(cls, family, config, located)
                recipe = cls.configured(base, _variant(cls, values))
                return recipe.adapted({name: (value, "") for name, value in values.items()})
    architecture = " ".join(architectures(config)) or "none"
    raise InputError(f"{located.source} has the architecture {architecture}, and no recipe reads it.")


def started(recipe: "Recipe") -> "Recipe":
    """Returns `recipe` with the values of the checkpoint that `init_from` names, where it names one.

    Raises: `InputError` where the caller, or the variant, says otherwise than the checkpoint.
    """
    if recipe.init_from is None or not hub.is_pretrained(recipe.init_from):
        return recipe
    located = hub.locate(recipe.init_from)
    config = config_of(located, [type(recipe)])
    if config is None:
        return recipe
    family = _family(type(recipe), config, located)
    values = _values(type(recipe), family, config, located)
    given, variant = recipe.origin.given, recipe.variants.get(recipe.variant, {})
    found = {}
    for name, value in values.items():
        if name in CHOSEN and name in given:
            continue
        if name in variant and name not in YIELDING and variant[name] != value:
            raise InputError(
                f"{recipe.label} has {name}={fields.show(variant[name])}, but {located.source} has "
                f"{fields.show(value)}: name another variant, or {recipe.name} alone."
            )
        found[name] = (value, f"{located.source} has {fields.show(value)}")
    return recipe.adapted(found)


def checkpoint(recipe: "Recipe", located: hub.Located, shapes: dict[str, tuple[int, ...]], rows: Any) -> Checkpoint:
    """Returns the `zoo.weights.layout.Checkpoint` of a source, as `recipe` reads it."""
    from zoo.weights.tensors import open_tensors

    tensors = open_tensors(located.path)
    families = type(recipe).families
    config = located.config()
    if config is not None:
        families = (_family(type(recipe), config, located),)
    if not families:
        raise InputError(f"{recipe.name} reads no published checkpoints: give a run, or a .keras file.")
    vocabulary = (config or {}).get("vocab_size")
    made = [Checkpoint(family, tensors, shapes, rows, vocabulary) for family in families]
    return max(made, key=len)


def written_as(recipe: "Recipe", config: Config | None = None) -> tuple[Family, dict[str, Any]]:
    """Returns (family, config) of a checkpoint that the weights of a recipe are written as.

    Args:
        config: of the checkpoint that they are of, whose library has the first word.
    Raises: `InputError` where no other library has the network, with the fields that stand in the way.
    """
    families = [family for family in type(recipe).families if family.target is not None]
    if not families:
        known = [name for name in names() if any(one.target is not None for one in find(name)[0].families)]
        raise InputError(f"No other library has {recipe.name}: format=safetensors writes {', '.join(known)}.")
    if config is not None:
        families = [one for one in families if _is_of(one.architectures, config)] or families
    refusals = []
    for family in families:
        written = family.target.config(recipe.values())
        odd = _otherwise(recipe, family, written)
        if not odd:
            return family, written
        refusals.append(f"{recipe.label} cannot be written as {' '.join(architectures(written))}: {', '.join(odd)}.")
    raise InputError(refusals[0])


def _otherwise(recipe: "Recipe", family: Family, config: Config) -> list[str]:
    """What a network would have otherwise that is built by what `config` says: each field, with both values."""
    cls, values = type(recipe), family.values(config)
    odd = {name: one for name, one in values.items() if name not in _ASIDE and getattr(recipe, name) != one}
    if not odd:
        found = {name: (one, "") for name, one in values.items()}
        read = cls.configured(recipe.name, _variant(cls, values)).adapted(found).values()
        bases = [one for one in cls.__mro__ if one.__module__.startswith(("zoo.tasks", "zoo.base"))]
        of_tasks = {name for one in bases for name in vars(one).get("__annotations__", ())}
        own = set(cls.fields()) - of_tasks - _ASIDE
        odd = {name: read[name] for name in cls.fields() if name in own and getattr(recipe, name) != read[name]}
    return [
        f"it has {name}={fields.show(getattr(recipe, name))}, and that {fields.show(one)}" for name, one in odd.items()
    ]


def architectures(config: Config) -> list[str]:
    """Returns the names of architectures that a config gives."""
    found = config.get("architectures") or config.get("architecture") or config.get("model_type") or []
    return list(map(str, found)) if isinstance(found, list) else [str(found)]


def _family(cls: "type[Recipe]", config: Config, located: hub.Located) -> Family:
    for family in cls.families:
        if _is_of(family.architectures, config):
            return family
    architecture = " ".join(architectures(config)) or "none"
    reads = ", ".join(_flat(family.architectures for family in cls.families)) or "no published checkpoints"
    raise InputError(f"{located.source} has the architecture {architecture}, and {cls.__name__} reads {reads}.")


def _is_of(known: Iterable[str], config: Config) -> bool:
    return not set(known).isdisjoint(architectures(config))


def _values(cls: "type[Recipe]", family: Family, config: Config, located: hub.Located) -> dict[str, Any]:
    """{field: value} of a checkpoint."""
    try:
        if config.get("quantization_config"):
            raise InputError("config.json has a quantization_config: of quantised weights, GGUF files alone are read.")
        if type(config.get("vocab_size", 0)) is not int:
            raise InputError(f"config.json has vocab_size={config['vocab_size']!r}, and that is no number.")
        values = family.values(config)
        if "classes" in cls.fields() and classes_of(config):
            values = {**values, "classes": classes_of(config)}
        if cls.texts:
            tokenizer = cls.read_tokenizer(located.home).tokenizer
            values = {**values, "tokens": tokenizer.kind, "vocabulary": tokenizer.size}
        return values
    except InputError as error:
        raise InputError(f"{located.source}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{located.source}: config.json is damaged ({type(error).__name__}: {error}).") from None


def _variant(cls: "type[Recipe]", values: dict[str, Any]) -> str | None:
    """The variant all of whose values `values` shares, but for those in which it yields; None where there is none."""
    for variant, has in cls.variants.items():
        shared = [name for name in has if name in values and name not in YIELDING]
        if shared and all(has[name] == values[name] for name in shared):
            return variant
    return None


def _flat(lists: Iterable[Iterable[str]]) -> list[str]:
    return [one for each in lists for one in each]
