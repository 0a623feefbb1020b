from typing import Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, integer, integers, real
from zoo.tasks import TabularPrediction


class MLP(
    TabularPrediction,
    dataset="moons",
    epochs=60,
    batch_size=32,
    learning_rate=1e-2,
    schedule="cosine",
    patience=20,
):
    """MLP for tables, whose hidden layers show what each kind of module learns.

    Every hidden layer is the module that `hidden` names, and the module's is the only nonlinearity:

    - none: no hidden layer, a linear model;
    - dense: a linear map and `activation` (Rumelhart, Hinton & Williams 1986);
    - maxout: the largest of `pieces` linear maps (Goodfellow et al. 2013);
    - quadratic: products of the inputs, of which one unit solves exclusive or (LeCun 2020; Fan et al. 2018);
    - gated: a sigmoid of the inputs blends two linear maps (Srivastava et al. 2015);
    - moe: a softmax of the inputs mixes experts (Jacobs, Jordan, Nowlan & Hinton 1991). With `experts=linear`, linear
      classifiers together make a nonlinear one, each answering in its own region.

    `zoo train mlp hidden=moe` separates `moons` and `xor` at 100.0 % of the test split, where `hidden=none` reaches
    87.3 % and 45.0 %; `hidden=quadratic units=1` separates `xor` at 100.0 % (means of three seeds:
    `python benchmarks/tables.py`).
    """

    tuned: ClassVar[tuple[str, ...]] = ("dropout", "hidden", "units")

    hidden: str = choice(
        "none",
        "dense",
        "maxout",
        "quadratic",
        "gated",
        "moe",
        default="dense",
        search=("dense", "maxout", "quadratic", "gated", "moe"),
        help="kind of hidden layer; none: a linear model",
    )
    units: tuple[int, ...] = integers(
        default=(32,),
        length=0,
        legal=(1, 65_536),
        search=((32,), (64,), (128,), (64, 64)),
        when={"hidden": ("dense", "maxout", "quadratic", "gated", "moe")},
        help="units of each hidden layer",
    )
    activation: str = choice(
        "relu", "tanh", "gelu", "silu", default="relu", search=("relu", "tanh", "gelu"), when={"hidden": "dense"},
        help="activation of dense hidden layers",
    )  # fmt: skip
    pieces: int = integer(
        default=2, legal=(2, 64), search=(2, 6), when={"hidden": "maxout"}, help="linear maps per maxout unit"
    )
    rank: int | None = integer(
        default=None, legal=(1, 4096), optional=True, when={"hidden": "quadratic"},
        help="rank of each quadratic unit's matrix; none: full rank",
    )  # fmt: skip
    experts: str = choice(
        "linear", "mlp", default="linear", search=("linear", "mlp"), when={"hidden": "moe"}, help="kind of expert"
    )
    expert_count: int = integer(
        default=4, legal=(1, 1024), search=(2, 16), log=True, when={"hidden": "moe"}, help="number of experts"
    )
    expert_units: int = integer(
        default=16,
        legal=(1, 65_536),
        search=(8, 64),
        log=True,
        when={"experts": "mlp"},
        help="hidden units of each expert",
    )
    top_k: int | None = integer(
        default=None, legal=(1, 1024), optional=True, when={"hidden": "moe"}, help="experts used per row; none: all"
    )
    dropout: float = real(
        default=0.0, legal=(0, 0.95), search=(0.0, 0.5),
        when={"hidden": ("dense", "maxout", "quadratic", "gated", "moe")},
        help="dropout after every hidden layer",
    )  # fmt: skip

    def check(self) -> None:
        if not self.units:
            raise InputError("units must name at least one layer; a linear model is hidden=none. Received: units=().")
        if self.top_k is not None and self.top_k > self.expert_count:
            raise InputError(f"top_k must be at most expert_count={self.expert_count}. Received: top_k={self.top_k}.")

    def network(self) -> keras.Model:
        # Layers
        names = [*(f"hidden{number}" for number in range(1, len(self.units))), "features"]
        hidden = [] if self.hidden == "none" else zip(names, self.units, strict=True)
        head = keras.layers.Dense(self.outputs, dtype="float32", name="head")

        # Network
        table = keras.Input((self.inputs,), name="table")
        x = keras.layers.Identity(name="features")(table) if self.hidden == "none" else table
        for name, units in hidden:
            x = self._hidden(x, units, name)  # (batch, units)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=("head" if name == "features" else name) + "_dropout")(x)
        return keras.Model(table, head(x), name="mlp")

    def make_gates(self, model: keras.Model) -> keras.Model | None:
        """A model of the weights of the last hidden layer's experts."""
        if self.hidden != "moe":
            return None
        mixture = model.get_layer("features")
        return keras.Model(model.input, mixture.router(mixture.input).probabilities)

    def _hidden(self, x: Any, units: int, name: str) -> Any:
        match self.hidden:
            case "dense":
                return keras.layers.Dense(units, activation=self.activation, name=name)(x)
            case "maxout":
                return zoo.layers.Maxout(units, pieces=self.pieces, name=name)(x)
            case "quadratic":
                return zoo.layers.Quadratic(units, rank=self.rank, name=name)(x)
            case "gated":
                parts = [keras.layers.Dense(units, name=f"{name}_{part}")(x) for part in ("one", "other", "gate")]
                return zoo.layers.SoftGate(name=name)(parts)
            case "moe":
                experts = [self._make_expert(units, f"expert{number + 1}") for number in range(self.expert_count)]
                return zoo.layers.MixtureOfExperts(experts, top_k=self.top_k, name=name)(x)

    def _make_expert(self, units: int, name: str) -> keras.layers.Layer:
        if self.experts == "linear":
            return keras.layers.Dense(units, name=name)
        hidden = keras.layers.Dense(self.expert_units, activation="relu", name="hidden")
        return keras.Sequential([hidden, keras.layers.Dense(units, name="answer")], name=name)
