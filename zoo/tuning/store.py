"""`Store`: the state of a study in one SQLite file.

One process writes (it holds `study.lock`), and whatever belongs together is one transaction. There is no write-ahead
log, which a folder shared over a network does not bear.
"""

import contextlib
import json
import sqlite3

from zoo.errors import InputError, RunError

SCHEMA = 1

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


class Store:
    """The tables `trials` (what happened), `proposals` (what the oracle was told) and `facts` (everything else).

    A trial's `form` is its recipe in normal form, by which duplicates are known; `until` is the epoch at which its
    rung ends. `values`, `form`, `kept` and facts are JSON.
    """

    def __init__(self, path, new=False):
        self._path = path
        if not new and not path.exists():
            raise InputError(f"{path} is missing, the study's state: tune again in another --directory.")
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA synchronous=FULL")
            found = self._connection.execute("SELECT name FROM sqlite_master WHERE name='facts'").fetchone()
            if found is None:
                with self.transaction():
                    for statement in _TABLES.split(";"):
                        self._connection.execute(statement)
                    self.set("schema", SCHEMA)
            schema = self.get("schema")
        except sqlite3.DatabaseError as error:
            self.close()
            raise InputError(f"{path} is damaged ({error}): tune again in another --directory.") from error
        if schema > SCHEMA:
            self.close()
            raise InputError(f"{path} was written by a newer zoo (schema {schema}, this one reads {SCHEMA}): upgrade.")

    def close(self):
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self):
        """What is written inside is there whole, or not at all."""
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

    def get(self, name, default=None):
        row = self._connection.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return default if row is None else json.loads(row["value"])

    def set(self, name, value):
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def rows(self, table):
        """Every row of `trials` (by number) or of `proposals` (by id), as mappings."""
        key = "number" if table == "trials" else "id"
        return [dict(row) for row in self._connection.execute(f"SELECT * FROM {table} ORDER BY {key}")]

    def add(self, table, **row):
        columns = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))

    def change(self, table, key, **row):
        """Changes columns of the trial of number `key`, or of the proposal of that id."""
        name = "number" if table == "trials" else "id"
        changes = ", ".join(f'"{column}"=?' for column in row)
        self._connection.execute(f"UPDATE {table} SET {changes} WHERE {name}=?", (*row.values(), key))
