from typing import Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, integer, real
from zoo.tasks import ImageClassification


class ODENet(
    ImageClassification,
    dataset="digits",
    epochs=40,
    batch_size=64,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule="cosine",
    jit_compile=False,
    input_shape=(32, 32, 1),
    rotation=12.0,
    zoom=0.1,
    shift=0.1,
):
    """ODE-Net: a residual network whose middle is one differential equation.

    Chen, Rubanova, Bettencourt & Duvenaud 2018, "Neural Ordinary Differential Equations", section 3. The image is
    made small by three convolutions, solved as dx/dt = f(x, t) from t = 0 to 1, pooled and classified; f is two
    convolutions that see t as one more channel. `odenet/mnist` is torchdiffeq's `odenet_mnist.py`: 208,266 parameters,
    75,392 of them in f, dopri5 at tolerance 1e-3. Plain `odenet` is a narrower one for the digits.

    A run's history has the evaluations of f that a step of training takes (`nfe`; backward `nfe_backward`).

    `jit_compile` is off because on a CPU XLA takes some 25 times as long for a convolution's gradient inside a loop; on
    JAX, which has no other way, that holds too.
    """

    tuned: ClassVar[tuple[str, ...]] = ("filters", "solver")

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {
            "dataset": "tfds:mnist",
            "input_shape": (28, 28, 1),
            "filters": 64,
            "epochs": 160,
            "batch_size": 128,
            "nesterov": False,
            "weight_decay": 0.0,
            "schedule": "step",
            "milestones": (0.375, 0.625, 0.875),
            "crop": 4,
            "rotation": 0.0,
            "zoom": 0.0,
            "shift": 0.0,
        }
    }

    filters: int = integer(default=32, legal=(1, 4096), search=(16, 128), log=True, help="channels of the state")
    groups: int | None = integer(
        default=None,
        legal=(1, 4096),
        optional=True,
        help="groups of the group norms; none: as many as filters, at most 32",
    )
    activation: str = choice(
        "relu",
        "gelu",
        "silu",
        "softplus",
        "tanh",
        default="relu",
        search=("relu", "softplus"),
        help="activation after every norm",
    )
    solver: str = choice(
        "dopri5",
        "tsit5",
        "bosh3",
        "rk4",
        "heun",
        "midpoint",
        "euler",
        "alf",
        default="dopri5",
        search=("dopri5", "rk4", "alf"),
        help="ODE solver; the first three choose their step size",
    )
    steps: int = integer(
        default=4,
        legal=(1, 10_000),
        search=(1, 16),
        when={"solver": ("rk4", "heun", "midpoint", "euler", "alf")},
        help="number of equal steps from t = 0 to 1",
    )
    tolerance: float = real(
        default=1e-3,
        legal=(1e-9, 1),
        search=(1e-5, 1e-2),
        log=True,
        when={"solver": ("dopri5", "tsit5", "bosh3")},
        help="relative and absolute tolerance of a step",
    )
    gradient: str = choice(
        "checkpoint",
        "adjoint",
        default="checkpoint",
        search=("checkpoint", "adjoint"),
        help="checkpoint: exact gradients; adjoint: constant memory",
    )

    def check(self) -> None:
        if min(self.input_shape[:2]) < 12:  # else a group may be one number, whose norm is 0
            raise InputError(
                f"ODE-Net needs images of at least 12 x 12. Received: input_shape={self.input_shape}. "
                "Images are resized to input_shape: give a larger one."
            )
        if self.filters % self._groups:
            raise InputError(f"groups must divide filters={self.filters}. Received: groups={self._groups}.")

    def network(self) -> keras.Model:
        # Layers
        scale = keras.layers.Rescaling(1 / 255, name="scale")
        stem = [
            keras.layers.Conv2D(self.filters, 3, name="conv1"),
            *self._make_norm("norm1"),
            keras.layers.ZeroPadding2D(1, name="conv2_pad"),
            keras.layers.Conv2D(self.filters, 4, strides=2, name="conv2"),
            *self._make_norm("norm2"),
            keras.layers.ZeroPadding2D(1, name="conv3_pad"),
            keras.layers.Conv2D(self.filters, 4, strides=2, name="conv3"),
        ]
        adaptive = self.solver in ("dopri5", "tsit5", "bosh3")
        block = zoo.layers.ODEBlock(
            self._make_dynamics(),
            solver=self.solver,
            steps=None if adaptive else self.steps,
            rtol=self.tolerance,
            atol=self.tolerance,
            gradient=self.gradient,
            name="ode",
        )
        pool = keras.layers.GlobalAveragePooling2D(name="features")
        head = keras.layers.Dense(self.classes, dtype="float32", name="head")

        # Network
        images = keras.Input(self.input_shape, name="images")
        x = scale(images)
        for layer in stem:
            x = layer(x)  # (batch, 6, 6, filters) from 28 x 28
        x = block(x)
        for layer in self._make_norm("norm3"):
            x = layer(x)
        return keras.Model(images, head(pool(x)), name="odenet")

    def _make_dynamics(self) -> keras.Model:
        """f(x, t), whose convolutions see t as one more channel."""
        x = state = keras.Input((None, None, self.filters), name="state")
        t = keras.Input((1,), name="time")
        channel = keras.ops.ones_like(state[..., :1]) * keras.ops.reshape(t, (-1, 1, 1, 1))  # (batch, h, w, 1)
        for number in (1, 2):
            for layer in self._make_norm(f"f_norm{number}"):
                x = layer(x)
            x = keras.layers.Concatenate(name=f"f_time{number}")([channel, x])  # (batch, h, w, 1 + filters)
            x = keras.layers.Conv2D(self.filters, 3, padding="same", name=f"f_conv{number}")(x)
        x = zoo.layers.GroupNorm(self._groups, name="f_norm3")(x)
        return keras.Model([state, t], x, name="dynamics")

    @property
    def _groups(self) -> int:
        return self.groups or min(32, self.filters)

    def _make_norm(self, name: str) -> list[keras.layers.Layer]:
        return [
            zoo.layers.GroupNorm(self._groups, name=name),
            keras.layers.Activation(self.activation, name=f"{name}_activation"),
        ]
