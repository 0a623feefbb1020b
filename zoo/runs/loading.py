"""`zoo.load`: what was trained, here or elsewhere, as a model."""

import os
from typing import TYPE_CHECKING, TypeAlias

from zoo import weights
from zoo.runs.pretrained import Pretrained
from zoo.runs.run import Run
from zoo.runs.shipped import Shipped
from zoo.weights import hub

if TYPE_CHECKING:
    import keras


Trained: TypeAlias = Run | Pretrained | Shipped
"""What has a recipe, a reader and weights."""


def open_trained(source: str | os.PathLike[str] | Trained, trust: bool = False) -> Trained:
    """Returns the run, or the pretrained source, of a name.

    Args:
        source: a `Run`, its folder, `zoo:NAME` as `Shipped` takes it, or what `Pretrained` takes.
        trust: run the recipe file that a run names, whoever wrote it.
    """
    if isinstance(source, (Pretrained, Shipped)):
        return source
    if hub.is_shipped(source):
        return Shipped(source)
    return Pretrained(source) if hub.is_pretrained(source) else Run.open(source, trust)


def load(run: str | os.PathLike[str] | Trained, *, features: bool = False, trust: bool = False) -> "keras.Model":
    """Returns the trained `keras.Model` of a run or of a pretrained source, compiled.

    The model has `recipe` and `reader`. Of a run it has `run` and the run's best weights; of a pretrained source it has
    `source`, and its optimizer has no state yet.

    Args:
        run: a `Run`, or its folder; `zoo:NAME`, weights that come with the package; or a checkpoint of another
            library: `hf:OWNER/NAME[@REVISION]`, a folder with config.json and safetensors, or one file of weights
            beside its config.json.
        features: end at the layer `features` instead: pooled, or the last hidden; not compiled.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where there is no such run or source, and for a source that is not whole, or that no recipe
        reads.
    """
    from zoo.base.models import attach, cut

    trained = open_trained(run, trust)
    recipe = trained.recipe
    if isinstance(trained, Run):
        arrays = trained.weights()
        model = recipe.build(adapters=False, drawn=False)
        weights.put(model, arrays)
        attached = {"recipe": recipe, "run": trained}
    else:
        model = recipe.build(slots=False, drawn=False)
        trained.put(model)
        attached = {"recipe": recipe, "source": trained.source}
    if features:
        model = cut(model)
        attach(model, **attached)  # no reader: what it answers are no classes
        return model
    reader = trained.reader()
    attach(model, reader=reader, labels=reader.labels, **attached)
    return model
