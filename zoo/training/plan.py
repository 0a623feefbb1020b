"""What a recipe, its data and this machine resolve to before training begins."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from zoo import devices
from zoo.errors import counted, unknown

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a recipe, its data and this machine resolve to."""

    device: devices.Resolved
    steps_per_epoch: int
    epochs: int
    monitor: str | None
    mode: Literal["min", "max"]
    patience: int | None
    averages: bool
    init_from: str | None

    @property
    def standstill(self) -> str | None:
        """What ends training early, "val_loss has not fallen for 15 epochs"; None where nothing does."""
        if self.monitor is None or self.patience is None:
            return None
        moved = "fallen" if self.mode == "min" else "risen"
        return f"{self.monitor} has not {moved} for {counted(self.patience, 'epoch')}"


def make_plan(recipe: "Recipe", steps_per_epoch: int, validates: bool) -> Plan:
    """Returns the `Plan`; a monitor that no epoch will report is an `InputError`."""
    monitor, names = recipe.monitor, reported(recipe, validates)
    if monitor is not None and monitor not in names:
        if not validates and monitor.startswith("val_") and "monitor" not in recipe.origin.given:
            monitor = None  # the default, and no split to validate on: the last epoch counts
        else:
            raise unknown("monitor", monitor, names)
    return Plan(
        device=devices.resolve(recipe),
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        monitor=monitor,
        mode=direction(recipe, monitor),
        patience=recipe.patience,
        averages=recipe.ema > 0,
        init_from=recipe.init_from,
    )


def reported(recipe: "Recipe", validates: bool) -> list[str]:
    """Returns the names of what each epoch reports, with or without a validation split."""
    names = ["loss", *(metric.name for metric in recipe.make_metrics())]
    return names + [f"val_{name}" for name in names] if validates else names


def direction(recipe: "Recipe", monitor: str | None) -> Literal["min", "max"]:
    """Returns "min" or "max": which values are better of `monitor`, the loss or a metric, or None.

    A metric says it as Keras's own do, by `_direction`; of one that does not, more is better.
    """
    says = {metric.name: getattr(metric, "_direction", "up") for metric in recipe.make_metrics()}
    return "max" if says.get((monitor or "").removeprefix("val_")) == "up" else "min"
