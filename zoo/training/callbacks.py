"""The callbacks of `zoo.train`. Those whose state matters have `get_state` and `set_state` (JSON)."""

import contextlib
import math
import multiprocessing
import signal
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from zoo import weights
from zoo.base.randomness import seed_generators
from zoo.errors import InputError, RunError, ending_signals, interrupt

if TYPE_CHECKING:
    from zoo.runs.run import Run
    from zoo.training.plan import Plan


class EpochSeeds(keras.callbacks.Callback):
    """Makes every random state of an epoch a function of (seed, epoch), so that a resumed run repeats it.

    Sets the generators of Python, NumPy and torch, and every Keras seed generator of the model (dropout); the
    pipeline sees to order and augmentation.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        generators = [variable for variable in self.model.variables if weights.is_seed(variable)]
        for index, variable in enumerate(generators):
            state = np.random.SeedSequence([self._seed, epoch, index]).generate_state(2)
            variable.assign(state.astype(keras.backend.standardize_dtype(variable.dtype)))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Seeds with the first batch in hand: on torch, dropout and making an iterator draw from one generator."""
        if batch == 0:
            seed_generators(int(np.random.SeedSequence([self._seed, self._epoch]).generate_state(1)[0]))


class FiniteLoss(keras.callbacks.Callback):
    """Stops a run whose loss is no longer a number, with the epoch, the step and the last finite loss."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self._last: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            last = "there was none" if self._last is None else f"the last finite loss was {self._last:.6g}"
            raise RunError(
                f"The loss became {loss} in epoch {self._epoch + 1}, step {batch + 1}; {last}. "
                "A smaller learning_rate, warmup or clip_norm=1 helps."
            )
        self._last = loss


class AveragedWeights(keras.callbacks.Callback):
    """Validates with the optimizer's moving averages: swapped in before a test, and out again, bit for bit."""

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[str, np.ndarray] = {}

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        averages = weights.averages(self.model)
        self._raw = {v.path: weights.array(v) for v in self.model.trainable_variables}
        for variable in self.model.trainable_variables:
            variable.assign(averages[variable.path])

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        for variable in self.model.trainable_variables:
            variable.assign(self._raw[variable.path])


def readings(model: keras.Model) -> dict[str, tuple[Any, str, Any]]:
    """Returns {column of a history: (layer, its name there, the reading that it is of)} of what layers tell."""
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "readings")]
    told = [name for layer in layers for name in layer.readings.names]
    labels = [layer.name for layer in layers]
    columns = {}
    for layer in layers:
        label = layer.name if labels.count(layer.name) == 1 else layer.path
        for name, reading in layer.readings.names.items():
            columns[name if told.count(name) == 1 else f"{label}/{name}"] = (layer, name, reading)
    return columns


class LayerReadings(keras.callbacks.Callback):
    """Puts what layers tell about themselves into `History`: the mean over each epoch's training steps.

    A layer that tells something has `readings`: an ODE block's function evaluations (`nfe`), a mixture's load of
    expert 3 (`load_3`). A reading that several layers have is named after each layer, such as `block1/nfe`, or after
    its path where layers share their name.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for layer in self._layers():
            layer.readings.reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # the step has taken the variables' buffers
        means = {layer: layer.readings.means() for layer in self._layers()}
        for column, (layer, name, _) in readings(self.model).items():
            if name in means[layer]:  # else the layer was not called
                logs[column] = means[layer][name]

    def _layers(self) -> set[Any]:
        return {layer for layer, _, _ in readings(self.model).values()}


class StopAfter(keras.callbacks.Callback):
    """Ends `fit` after `until` epochs; the schedule stays that of all of them."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self._until = until

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 >= self._until:
            self.model.stop_training = True


class Interruptible(keras.callbacks.Callback):
    """Turns Ctrl-C, SIGTERM and SIGHUP into a stop after the running step; a second one acts at once.

    In a trial's process only Ctrl-C is: SIGTERM kills, as the study expects.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        numbers = [signal.SIGINT, *([] if multiprocessing.parent_process() else ending_signals())]
        with contextlib.suppress(ValueError):  # not the main thread, which alone gets signals
            for number in numbers:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: types.FrameType | None) -> None:
        self._asked = number
        signal.signal(number, self._before[number])

    def _stop(self, *_: object) -> None:
        if self._asked is not None:
            interrupt(self._asked)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop()


class Recorder(keras.callbacks.Callback):
    """Keeps the run: history, the best epoch, early stopping, and a checkpoint after every epoch. Goes last.

    Args:
        run: the `zoo.runs.Run` to write to.
        plan: the `zoo.training.Plan`, for what is monitored, patience and averages.
        answers: a function from {path: array} of the model to the float32 answers on the run's probe batch.
        others: callbacks whose `get_state` goes into the checkpoint.
    """

    def __init__(
        self,
        run: "Run",
        plan: "Plan",
        answers: Callable[[Mapping[str, np.ndarray]], np.ndarray],
        others: Iterable[Any] = (),
    ) -> None:
        super().__init__()
        self._run = run
        self._plan = plan
        self._answers = answers
        self._others = list(others)
        self.history: list[dict[str, float]] = []
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.wait: int = 0
        self.stopped_early: bool = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = weights.inner(self.model.optimizer)
        row: dict[str, float] = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(optimizer.learning_rate)
        self.history.append(row)
        self._judge(row)
        arrays = {"weights": weights.of(self.model), "optimizer": weights.of_optimizer(self.model.optimizer)}
        final = arrays["weights"]
        if self._plan.averages:
            final = arrays["averages"] = weights.averages(self.model)
        arrays["answers"] = {"logits": self._answers(final)}
        if not np.isfinite(arrays["answers"]["logits"]).all():
            raise RunError(f"The network's answers are not finite after epoch {epoch + 1}, which is not kept")
        self._run.save_checkpoint(epoch + 1, arrays, self.get_state(), self.best_epoch)

    def _judge(self, row: Mapping[str, Any]) -> None:
        """Whether this epoch is the best, and whether patience has run out."""
        if self._plan.monitor is None:
            return
        value = row[self._plan.monitor]
        better = math.isfinite(value) and (
            self.best is None or (value < self.best if self._plan.mode == "min" else value > self.best)
        )
        if better:
            self.best, self.best_epoch, self.wait = value, row["epoch"], 0
            return
        self.wait += 1
        if self._plan.patience is not None and self.wait >= self._plan.patience:
            self.stopped_early = True
            self.model.stop_training = True

    def get_state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps of it, JSON."""
        return {
            "epoch": len(self.history),
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "wait": self.wait,
            "stopped_early": self.stopped_early,
            "callbacks": [other.get_state() for other in self._others],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` returned."""
        self.history = list(state["history"])
        self.best, self.best_epoch, self.wait = state["best"], state["best_epoch"], state["wait"]
        self.stopped_early = state["stopped_early"]
        if len(state["callbacks"]) != len(self._others):
            raise InputError(
                f"The run was started with {len(state['callbacks'])} callbacks of one's own that have a state, and "
                f"{len(self._others)} are given: pass the same from Python, zoo.train(resume=..., callbacks=[...])."
            )
        for other, saved in zip(self._others, state["callbacks"], strict=True):
            other.set_state(saved)
