"""Which backend, device, precision and XLA setting a recipe runs with here, and why."""

import dataclasses
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What `resolve` found. `reason` says in words why the precision is what it is."""

    backend: str
    device: str
    precision: str
    reason: str

    def line(self, jit_compile: bool | str, asked: bool | str) -> str:
        """The first line of a run; `asked` is the recipe's `jit_compile`, `jit_compile` what Keras made of it."""
        why = "auto: as Keras decides for this device" if asked == "auto" else "as given"
        xla = f"XLA {'on' if jit_compile else 'off'} ({why})"
        return f"Backend {self.backend}, device {self.device}, precision {self.precision} ({self.reason}), {xla}."


def resolve(recipe: "Recipe") -> Resolved:
    """The `Resolved` of `recipe` on this machine."""
    backend = keras.backend.backend()
    device, bfloat16 = _accelerator(backend)
    if recipe.precision != "auto":
        precision, reason = recipe.precision, "as given"
    elif bfloat16:
        precision, reason = "mixed_bfloat16", "auto: this GPU has bfloat16"
    else:
        precision = "float32"
        reason = "auto: no GPU" if device == "CPU" else "auto: this GPU has no fast bfloat16"
    return Resolved(f"{backend} {_version(backend)}", device, precision, reason)


def _version(backend: str) -> str:
    from importlib import metadata

    return metadata.version(backend)


def _accelerator(backend: str) -> tuple[str, bool]:
    """(name of the device, whether it is a GPU with fast bfloat16: compute capability 8 and up)."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            return f"GPU {details.get('device_name', '')}", details.get("compute_capability", (0, 0)) >= (8, 0)
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            capability = float(getattr(device, "compute_capability", 0) or 0)
            return f"GPU {device.device_kind}", capability >= 8
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return f"GPU {torch.cuda.get_device_name()}", torch.cuda.get_device_capability() >= (8, 0)
    return "CPU", False
