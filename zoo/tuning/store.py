"""`Store`: the state of a study in one SQLite file.

One process writes (it holds `study.lock`), and changes that belong together are one transaction. WAL mode is off
because it is unsafe on network file systems. Each method is one statement, which finds its rows by an index.
"""

import contextlib
import json
import pathlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import InputError, RunError
from zoo.tuning.trial import RUNNING, SKIPPED, STATUSES

SCHEMA = 2
"""The version of the file. Since 2, the oracle's memory is kept in parts (facts named `oracle:...`)."""

_TABLES = """
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY, "values" TEXT NOT NULL, form TEXT NOT NULL, status TEXT NOT NULL, score REAL,
    epoch INTEGER, epochs INTEGER NOT NULL, reason TEXT, origin TEXT NOT NULL, started REAL, ended REAL, host TEXT,
    until INTEGER, seconds REAL NOT NULL, begun INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS proposals (
    id TEXT PRIMARY KEY, trial INTEGER, kept TEXT NOT NULL, status TEXT NOT NULL, score REAL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_INDEXES = """
CREATE INDEX IF NOT EXISTS trials_form ON trials (form);
CREATE INDEX IF NOT EXISTS trials_status ON trials (status);
CREATE INDEX IF NOT EXISTS trials_score ON trials (score);
CREATE INDEX IF NOT EXISTS proposals_trial ON proposals (trial);
"""

_COLUMNS = {
    **dict.fromkeys(("number", "epochs", "begun"), int), **dict.fromkeys(("values", "status", "origin"), str),
    **dict.fromkeys(("score", "started", "ended", "seconds"), float | int | None), "epoch": int | None,
    "until": int | None, "reason": str | None, "host": str | None,
}  # fmt: skip
"""{column of a trial: its kind}: SQLite keeps whatever it was given, or finds."""

_OPEN, _SCORED, _FAILED = "RUNNING", "COMPLETED", "FAILED"
"""The states of a proposal in the file: the oracle was told nothing yet, a score, or that the trial failed."""


class Store:
    """The tables `trials` (what happened), `proposals` (what the oracle was told) and `facts` (everything else).

    A trial's `form` is its recipe in normal form, by which duplicates are recognised; `until` is the epoch at which
    its rung ends. `values`, `form`, `kept` and facts are JSON.

    Args:
        path: the file.
        new: make the file if it is missing.
        writes: add indexes that an older zoo did not make. Only a process that holds `study.lock` may.
    """

    def __init__(self, path: pathlib.Path, *, new: bool = False, writes: bool = False):
        self._path = path
        if not new and not path.exists():
            raise InputError(f"{path} is missing, the study's state: tune again in another --directory.")
        try:
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        except sqlite3.Error as error:
            raise InputError(f"{path} cannot be opened ({error}): tune again in another --directory.") from error
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA synchronous=FULL")
            found = self._connection.execute("SELECT name FROM sqlite_master WHERE name='facts'").fetchone()
            if found is None and not new:
                raise sqlite3.DatabaseError("it is empty")
            if found is None:
                with self.transaction():
                    self._script(_TABLES)
                    self.set("schema", SCHEMA)
            schema = self.get("schema")
        except sqlite3.DatabaseError as error:
            self.close()
            raise self.damaged(error) from error
        except InputError:
            self.close()
            raise
        if not isinstance(schema, int) or schema < 1:
            self.close()
            raise self.damaged(f"schema {schema}")
        if schema > SCHEMA:
            self.close()
            raise InputError(f"{path} was written by a newer zoo (schema {schema}, this one reads {SCHEMA}): upgrade.")
        if new or writes:
            with self.transaction():
                self._script(_INDEXES)
                if schema < SCHEMA:
                    self.set("schema", SCHEMA)

    def _script(self, statements):
        for statement in statements.split(";"):
            self._connection.execute(statement)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes the changes inside durable on exit: all of them, or none if an error is raised."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise RunError(f"{self._path} cannot be written ({error}); the same command then goes on.") from error
        except BaseException:
            self._undo()
            raise

    def _undo(self):
        if self._connection.in_transaction:  # SQLite has not undone it itself
            self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _reading(self):
        """Raises an `InputError` for what is damaged in the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(f"{self._path} cannot be read ({error}).") from error
        except (sqlite3.DatabaseError, ValueError, RecursionError) as error:  # ValueError: of JSON
            raise self.damaged(error) from error

    def damaged(self, why: object) -> InputError:
        """Returns the `InputError` for a file that does not say what it must."""
        return InputError(f"{self._path} is damaged ({why}): tune again in another --directory.")

    def _all(self, statement, *values):
        with self._reading():
            return [dict(row) for row in self._connection.execute(statement, values)]

    def _one(self, statement, *values):
        with self._reading():
            row = self._connection.execute(statement, values).fetchone()
        return None if row is None else dict(row)

    def _change(self, table, key, value, columns):
        changes = ", ".join(f'"{column}"=?' for column in columns)
        self._connection.execute(f"UPDATE {table} SET {changes} WHERE {key}=?", (*columns.values(), value))

    def _add(self, table, columns):
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))

    # Facts ------------------------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the fact of a name, or `default`."""
        row = self._one("SELECT value FROM facts WHERE name=?", name)
        with self._reading():
            return default if row is None else json.loads(row["value"])

    def set(self, name: str, value: Any) -> None:
        """Writes a fact."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def drop(self, name: str) -> None:
        """Removes a fact, if it is there."""
        self._connection.execute("DELETE FROM facts WHERE name=?", (name,))

    def named(self, prefix: str) -> dict[str, Any]:
        """Returns {rest of the name: value} of the facts whose names begin with `prefix`, by name."""
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        rows = self._all("SELECT name, value FROM facts WHERE name>=? AND name<? ORDER BY name", prefix, after)
        with self._reading():
            return {row["name"].removeprefix(prefix): json.loads(row["value"]) for row in rows}

    # Trials -----------------------------------------------------------------------------------------------------

    def trials(self) -> list[dict[str, Any]]:
        """Returns every trial's row, by number."""
        return [self._checked(row) for row in self._all("SELECT * FROM trials ORDER BY number")]

    def trial(self, number: int) -> dict[str, Any] | None:
        """Returns the row of a trial, or None."""
        row = self._one("SELECT * FROM trials WHERE number=?", number)
        return None if row is None else self._checked(row)

    def _checked(self, row):
        """Returns a trial's row; one that says what no trial is raises an `InputError`."""
        with self._reading():
            for column, kind in _COLUMNS.items():
                if not isinstance(row[column], kind):
                    raise ValueError(f"trial {row['number']} has no {column}")
            if row["status"] not in STATUSES or not isinstance(json.loads(row["values"]), dict):
                raise ValueError(f"trial {row['number']} has no status or no values")
        return row

    def of_form(self, form: str) -> int | None:
        """Returns the number of the trial with this recipe in normal form, or None."""
        row = self._one("SELECT number FROM trials WHERE form=?", form)
        return None if row is None else row["number"]

    def running(self) -> list[dict[str, Any]]:
        """Returns the rows of the trials that run, by number."""
        return self._all("SELECT * FROM trials WHERE status=? ORDER BY number", RUNNING)

    def best(self, direction: str, most: int | None) -> list[int]:
        """Returns the numbers of at most `most` trials with a score, the best first; None returns all."""
        order = "ASC" if direction == "min" else "DESC"
        rows = self._all(
            f"SELECT number FROM trials WHERE score IS NOT NULL ORDER BY score {order}, number LIMIT ?",
            -1 if most is None else most,
        )
        return [row["number"] for row in rows]

    def count(self) -> int:
        """Returns how many trials there are; their numbers have no gaps."""
        return 1 + self._one("SELECT coalesce(max(number), -1) AS last FROM trials")["last"]

    def skipped(self) -> int:
        """Returns how many trials were skipped."""
        return self._one("SELECT count(*) AS count FROM trials WHERE status=?", SKIPPED)["count"]

    def add_trial(self, **columns: Any) -> None:
        """Adds the row of a trial."""
        self._add("trials", columns)

    def change_trial(self, number: int, **columns: Any) -> None:
        """Changes columns of a trial."""
        self._change("trials", "number", number, columns)

    # Proposals --------------------------------------------------------------------------------------------------

    def proposals(self) -> Iterator[tuple[str, dict[str, Any], bool, float | None]]:
        """Yields (id, kept values, whether the oracle was told, score or None) of every proposal, by id."""
        for row in self._connection.execute("SELECT id, kept, status, score FROM proposals ORDER BY id"):
            yield row["id"], json.loads(row["kept"]), row["status"] != _OPEN, row["score"]

    def trial_of(self, id: str) -> int | None:
        """Returns the number of the trial that runs a proposal; None where no trial does."""
        row = self._one("SELECT trial FROM proposals WHERE id=?", id)
        return None if row is None else row["trial"]

    def untold(self, number: int) -> list[str]:
        """Returns the ids of a trial's proposals of whose end the oracle was not told."""
        rows = self._all("SELECT id FROM proposals WHERE trial=? AND status=? ORDER BY id", number, _OPEN)
        return [row["id"] for row in rows]

    def add_proposal(self, id: str, kept: Mapping[str, Any], trial: int | None) -> None:
        """Adds a proposal that the oracle was told nothing of."""
        self._add("proposals", {"id": id, "trial": trial, "kept": json.dumps(kept), "status": _OPEN})

    def tell_proposal(self, id: str, score: float | None) -> None:
        """Notes what the oracle was told: a score, or None for a failure."""
        status = _FAILED if score is None else _SCORED
        self._change("proposals", "id", id, {"status": status, "score": score})
