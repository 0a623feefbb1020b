"""`Recipe`: one model, whole. Its fields are its hyperparameters; a task and a recipe file add the rest."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np

from zoo import devices, fields, weights
from zoo.base import finetuning
from zoo.base.models import attach, cut, undrawn
from zoo.base.optimizing import make_optimizer
from zoo.base.randomness import dtype_policy, reproducible
from zoo.base.training import Training
from zoo.errors import InputError, unknown
from zoo.fields import Origin, markup
from zoo.objective.optimizers import WarmupSchedule
from zoo.weights.layout import Family

if typing.TYPE_CHECKING:
    import keras_tuner

    from zoo.cost import Shapes
    from zoo.data.source import Source
    from zoo.figures import Part
    from zoo.figures.demo import Form, Shown
    from zoo.reporting import Outcome


class Recipe(Training):
    """What all recipes share: the fields of training, and the verbs.

    Subclasses are tasks (`zoo.tasks`), and recipes are subclasses of those. A recipe is immutable, compared and
    hashed by its class and its values in normal form, and never reads a file.
    """

    if typing.TYPE_CHECKING:

        @property
        def origin(self) -> Origin: ...  # set past the frozen dataclass, so that it is no field

    variants: typing.ClassVar[dict[str, dict[str, typing.Any]]] = {}
    """{name of a variant: {field: value}}."""
    families: typing.ClassVar[tuple[Family, ...]] = ()
    """Published checkpoints that the network can be started from."""

    tuned: typing.ClassVar[tuple[str, ...]] = ()
    """Fields that a study searches by default, beside learning rate, batch size and weight decay: at most three."""

    tiles: typing.ClassVar[bool] = False
    """Whether inputs can be asked in tiles."""

    texts: typing.ClassVar[bool] = False
    """Whether inputs are texts, not files."""

    # What subclasses add ----------------------------------------------------------------------------------------

    def network(self) -> keras.Model:
        """The network, not compiled: no loss, no data, no global state."""
        raise NotImplementedError

    def example_shape(self) -> "Shapes":
        """Returns the shape of an example, by which `zoo show` counts a network that takes several shapes."""
        return getattr(self, "input_shape", None)

    def view(self, source: "Source") -> "Source":
        """Returns `source` as this kind of problem reads it: a table may be one of texts."""
        return source

    def adapt(self, source: "Source") -> dict[str, tuple[typing.Any, str]]:
        """Returns what the data decide, as `adapted` takes it: {field: (value, why)}."""
        raise NotImplementedError

    def fitted(self, source: "Source") -> dict[str, tuple[typing.Any, str]]:
        """Returns {field: (value, why)} of fields that nobody set and that training data suggest, such as a length.

        Other data are read with them as they are, which what `adapt` returns may forbid.
        """
        return {}

    def make_reader(self, source: "Source") -> typing.Any:
        """Returns what reads raw inputs for this recipe's network, a layer of `zoo.readers`, fitted to the data."""
        raise NotImplementedError

    def default_reader(self, labels: Sequence[str] | None = None) -> typing.Any:
        """Returns a reader without data, for a model that its owner fitted."""
        raise NotImplementedError

    @classmethod
    def read_tokenizer(cls, home: pathlib.Path) -> typing.Any:
        """Returns the published tokenizer in a checkpoint's folder, or GGUF file; None where no texts are read."""
        return None

    def pretrained_reader(self, tokenizer: typing.Any, labels: Sequence[str] | None = None) -> typing.Any:
        """Returns what reads raw inputs as a checkpoint's own library does.

        Args:
            tokenizer: what `read_tokenizer` returned.
            labels: names of the classes; None where the checkpoint has none.
        """
        return self.default_reader(labels)

    def make_preparation(self, reader: typing.Any, source: "Source") -> typing.Any:
        """Returns the `zoo.data.pipeline.Preparation` of examples; None for batches that are ready."""
        raise NotImplementedError

    def make_predictions(self, reader: typing.Any, names: Sequence[str], outputs: typing.Any) -> list[typing.Any]:
        """Returns one prediction a name, readable, of what `ask` returned."""
        raise NotImplementedError

    def make_probe(self, reader: typing.Any, examples: Iterable[typing.Any]) -> dict[str, np.ndarray]:
        """Returns {signature/input: array} of examples: what an export is verified on."""
        raise NotImplementedError

    def make_noise(self, count: int) -> list[dict[str, typing.Any]]:
        """Returns `count` random examples, for a probe without data."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises `InputError` where two fields make each other impossible."""

    def make_loss(self) -> typing.Any:
        """Returns the loss, as `keras.Model.compile` takes one."""
        raise NotImplementedError

    def constant_loss(self, reader: typing.Any, source: "Source") -> float | None:
        """Returns the validation loss of an answer that does not depend on the input, of `make_loss`; None: not known.

        A network that has learned anything is below it.
        """
        return None

    def make_metrics(self) -> list[typing.Any]:
        """Returns the metrics, as `keras.Model.compile` takes them."""
        return []

    def make_search(self) -> Callable[..., typing.Any] | None:
        """Returns what turns a network that answers token by token into an answer; None for other networks."""
        return None

    def ask(self, model: keras.Model, tensors: typing.Any) -> typing.Any:
        """Runs `model` on inputs prepared by `reader.read_raw`; returns what `make_predictions` makes readable."""
        return model.predict(tensors, batch_size=self.batch_size, verbose=0)

    def judge(self, model: keras.Model, reader: typing.Any, data: typing.Any) -> dict[str, float]:
        """Returns {name: value} of scores that no metric of `fit` computes, on batches of a split, for `evaluate`."""
        return {}

    def describe(self, reader: typing.Any, source: "Source") -> list[str]:
        """Returns lines about how the data are read, which `train` prints and keeps among the notes of the run."""
        return []

    def in_units(self, reader: typing.Any, measured: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
        """Returns `measured` {name: value}, of the loss and metrics of `fit`, in the units that a person reads."""
        return dict(measured)

    def endpoints(
        self, network: keras.Model, reader: typing.Any
    ) -> dict[str, tuple[Callable[..., typing.Any], dict[str, typing.Any]]]:
        """Returns {signature: (function from raw inputs to {output: tensor}, {input: its spec})}, for the export."""

        def endpoint(read: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
            return lambda *inputs: reader.answer(network(read(*inputs), training=False))

        return {name: (endpoint(read), specs) for name, (read, specs) in reader.signatures().items()}

    def report_parts(self, outcome: "Outcome") -> "list[Part]":
        """Returns what a report shows beside its curves, made of a `zoo.reporting.Outcome`."""
        return []

    def demo_form(self, reader: typing.Any, probe: Mapping[str, np.ndarray]) -> "Form":
        """Returns what the page of a demo asks for.

        Args:
            reader: what reads raw inputs.
            probe: {signature/input: array} of raw examples, as `make_probe` returns them; empty where there are none.
        """
        raise NotImplementedError

    def demo(self, model: keras.Model, given: Mapping[str, typing.Any]) -> "Iterator[Shown]":
        """Yields the parts of an answer that a demo shows, as they come.

        Args:
            model: a model with a reader, as `zoo.load` returns it.
            given: {name of a question: str, or the bytes of an image}.
        Raises: `InputError` for what the model cannot be asked.
        """
        raise NotImplementedError

    def predicted(self, model: keras.Model, inputs: Iterable[typing.Any]) -> list[typing.Any]:
        """Returns one prediction for each of `inputs`, as the reader of `model` takes them."""
        names, tensors = model.reader.read_raw(inputs)
        return self.make_predictions(model.reader, names, self.ask(model, tensors))

    def make_schedule(self, steps_per_epoch: int | None = None) -> float | WarmupSchedule:
        """Returns the learning rate: a number, or a function of the step where the number of steps is known."""
        if steps_per_epoch is None or (self.schedule == "constant" and not self.warmup):
            return self.learning_rate
        total = steps_per_epoch * self.epochs
        return WarmupSchedule(
            self.learning_rate,
            kind=self.schedule,
            total_steps=total,
            warmup_steps=round(self.warmup * total),
            milestones=self.milestones,
            decay=self.decay,
        )

    def make_optimizer(self, steps_per_epoch: int | None = None) -> keras.optimizers.Optimizer:
        """Returns the optimizer that the fields describe; the schedule acts where the steps are known."""
        return make_optimizer(self, self.make_schedule(steps_per_epoch))

    # The verbs --------------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self, "origin"):
            object.__setattr__(self, "origin", Origin(type(self).__module__.rpartition(".")[2]))
        late = self.unfreeze_epochs or ()
        if late and (sorted(set(late)) != list(late) or late[-1] >= self.epochs):
            raise InputError(
                f"unfreeze_epochs must rise, and stay below epochs={self.epochs}. "
                f"Received: unfreeze_epochs={fields.show(late)}."
            )
        self.check()

    @classmethod
    def configured(
        cls, name: str, variant: str | None = None, given: Mapping[str, typing.Any] | None = None
    ) -> typing.Self:
        """Returns the recipe of class, variant and caller, the later winning; `given` are the caller's values."""
        if variant is not None and variant not in cls.variants:
            raise unknown(f"variant of {name}", variant, cls.variants)
        values = {name: field.default for name, field in cls.fields().items()} | cls.variants.get(variant, {})
        return cls.restored(Origin(name, variant), values).replace(**(given or {}))

    def adapted(self, found: Mapping[str, tuple[typing.Any, str]]) -> typing.Self:
        """Returns this recipe with the fields that the data decide.

        Raises: `InputError` where the caller gave one of them another value.

        Args:
            found: {field: (value, why)}, such as {"classes": (3, "dataset=folder:x has 3 classes")}.
        """
        for name, (value, why) in found.items():
            if name in self.origin.given and getattr(self, name) != value:
                raise InputError(f"{name}={fields.show(getattr(self, name))} was given, but {why}.")
        values = self.values() | {name: value for name, (value, _) in found.items()}
        return self.restored(self.origin, self.normal(values, self.origin.given))

    @classmethod
    def restored(cls, origin: Origin, values: Mapping[str, typing.Any]) -> typing.Self:
        """Returns the recipe of an `Origin` and of values in normal form, as a run keeps them."""
        self = cls.__new__(cls)
        object.__setattr__(self, "origin", origin)
        self.__init__(**values)
        return self

    @property
    def name(self) -> str:
        """The name in the registry, or the file."""
        return self.origin.name

    @property
    def variant(self) -> str | None:
        """The name of the variant; None for the recipe itself."""
        return self.origin.variant

    @property
    def label(self) -> str:
        """`lenet/modern`: the name, and the variant where there is one."""
        return self.name if self.variant is None else f"{self.name}/{self.variant}"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the fields that are set, and behind a click all that count."""
        values = self.values()
        rows = [
            (name, fields.show(values[name]), fields.show(field.default), field.help)
            for name, field in self.fields().items()
            if not self.inactive(name, values)
        ]
        header, given = ("field", "value", "default", "what it is"), [row for row in rows if row[1] != row[2]]
        return markup.card(
            f"Recipe {self.label}",
            [("", (type(self).__doc__ or "").strip().partition("\n")[0])],
            *([markup.table(header, given)] if given else []),
            markup.folded(f"All {len(rows)} fields", markup.table(header, rows)),
        )

    def replace(self, **changes: typing.Any) -> typing.Self:
        """Returns this recipe with other values, checked; they count as given."""
        origin = dataclasses.replace(self.origin, given=self.origin.given | set(changes))
        return self.restored(origin, self.normal(self.values() | changes, origin.given))

    def digest(self) -> str:
        """Returns eight hex digits of the normal form: equal recipes have equal digests, in every process."""
        form = json.dumps({"recipe": self.name, "values": self.values()}, sort_keys=True)
        return hashlib.sha256(form.encode()).hexdigest()[:8]

    def sample(self, hp: "keras_tuner.HyperParameters") -> typing.Self:
        """Returns this recipe with every field that has a search range taken from keras-tuner's `hp`.

        With nothing chosen (`keras_tuner.HyperParameters()`) it equals this recipe.
        """
        values = self.values()
        for name, field in self.fields().items():
            if field.search is not None and not self.inactive(name, values):
                values[name] = field.suggest(name, hp, values[name])
        return self.restored(self.origin, self.normal(values))

    def merged(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns weights {path: array} of a model of `build` as `network` has them: adapters in their kernels."""
        return weights.merged(arrays, self.lora_alpha)

    def compile(
        self, model: keras.Model, steps_per_epoch: int | None = None, slots: bool = True, adapters: bool = True
    ) -> keras.Model:
        """Compiles `model` with this recipe's objective and returns it.

        The schedule and `unfreeze_epochs` act where the steps are known.

        Args:
            slots: whether the optimizer's variables are made at once, not before the first step.
            adapters: whether `lora` adds its adapters and holds kernels still.
        """
        finetuning.hold(self, model, adapters)
        optimizer = self.make_optimizer(steps_per_epoch)
        finetuning.give_rates(self, model, optimizer, steps_per_epoch)
        model.compile(
            optimizer=optimizer,
            loss=self.make_loss(),
            metrics=self.make_metrics(),
            jit_compile=self.jit_compile,
        )
        if slots:
            model.optimizer.build(model.trainable_variables)  # else a saved model comes back without an optimizer
        return model

    def build(
        self, steps_per_epoch: int | None = None, slots: bool = True, adapters: bool = True, drawn: bool = True
    ) -> keras.Model:
        """Returns a compiled `keras.Model` whose `model.recipe` is this recipe; global state is left as it was.

        `zoo.build` also follows `init_from`. `slots` and `adapters` are as for `compile`. Without `drawn`, weights are
        zeros, for those that are all set afterwards.
        """
        with reproducible(self.seed), dtype_policy(devices.resolve(self).precision):
            with contextlib.nullcontext() if drawn else undrawn():
                model = self.network()
            self.compile(model, steps_per_epoch, slots, adapters)
        attach(model, recipe=self)
        return model

    def features(self) -> keras.Model:
        """Returns the network up to its layer `features`: pooled, or the last hidden."""
        return cut(self.network())
