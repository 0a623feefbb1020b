"""The memory of an oracle in parts, {name: JSON}, so that a study writes only what an event has changed.

What grows with the trials is kept item by item: lists that are only appended to, mappings, and the set of values that
were tried. The rest of the state is small, and a part of it is written when its JSON has changed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

GONE = object()
"""In place of the value of a part that is no more."""


class Items(dict):
    """A mapping that remembers which keys were set. Like a defaultdict, it has a value for keys that are missing."""

    def __init__(self, items: Mapping, default: Any):
        super().__init__(items)
        self.touched = set(self)
        self._default = default

    def __missing__(self, key):
        return self._default

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.touched.add(key)


class Tried(set):
    """A set that remembers what was added and removed."""

    def __init__(self, items: Iterable[str]):
        super().__init__(items)
        self.added, self.removed = set(self), set()

    def add(self, item: str) -> None:
        if item not in self:
            super().add(item)
            self.added.add(item)
            self.removed.discard(item)

    def remove(self, item: str) -> None:
        super().remove(item)
        self.added.discard(item)
        self.removed.add(item)


class Tracked:
    """An oracle of keras-tuner that tells what has changed in its state. It comes before the oracle among the bases."""

    def track(self) -> None:
        """Begins to remember changes; all that is there counts as changed."""
        self._tried_so_far = Tried(self._tried_so_far)
        self._run_times = Items(self._run_times, 0)
        self._id_to_hash = Items(self._id_to_hash, None)
        self._told = {}  # {name: how much of a list, or the JSON of a small part} that `changes` has returned

    def lists(self) -> dict[str, list]:
        """Returns {name: list} of what is only appended to."""
        return {"start_order": self.start_order, "end_order": self.end_order}

    def mappings(self) -> dict[str, Items]:
        """Returns {name: mapping} of what grows with the trials."""
        return {"run_times": self._run_times, "id_to_hash": self._id_to_hash}

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Yields (name, value) of the parts that have changed since the last call; `GONE` is one that is no more."""
        for name, items in self.lists().items():
            for index in range(self._told.get(name, 0), len(items)):
                yield f"{name}/{index:08d}", items[index]
            self._told[name] = len(items)
        for name, items in self.mappings().items():
            for key in items.touched:
                yield f"{name}/{key}", [key, items[key]]
            items.touched.clear()
        tried = self._tried_so_far
        for item in tried.added:
            yield f"tried_so_far/{item}", item
        for item in tried.removed:
            yield f"tried_so_far/{item}", GONE
        tried.added.clear()
        tried.removed.clear()
        for name, value in self._small().items():
            text = json.dumps(value)
            if self._told.get(name) != text:
                self._told[name] = text
                yield name, value

    def _small(self):
        """Returns the state without what grows."""
        tried, self._tried_so_far = self._tried_so_far, ()  # else it would be copied
        try:
            state = self.get_state()
        finally:
            self._tried_so_far = tried
        grows = {"tried_so_far", *self.lists(), *self.mappings()}
        return {name: value for name, value in state.items() if name not in grows}

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Takes all parts that `changes` has yielded, {name: value}, again."""
        state = {"tried_so_far": [], **{name: [] for name in (*self.lists(), *self.mappings())}}
        for name, value in parts.items():  # in the order of names, so that lists are in order
            kind, item, _ = name.partition("/")
            if item:
                state[kind].append(value)
            else:
                state[kind] = value
        for name in ("run_times", "id_to_hash"):
            state[name] = dict(state[name])
        self.set_state(state)
        self.track()
        self._told = {name: len(items) for name, items in self.lists().items()}
        self._told |= {name: json.dumps(value) for name, value in self._small().items()}
        for items in self.mappings().values():
            items.touched.clear()
        self._tried_so_far.added.clear()
