"""Vectors of texts as a person reads them, and how near they are to each other."""

import dataclasses
from collections.abc import Sequence

import numpy as np

ROWS = 1024
"""Vectors that are compared with all others at once."""


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """The vector of one text.

    Attributes:
        name: the number of the text.
        vector: float32 (width,), of length 1.
        others: (the names, the vectors (n, width)) of all that were asked together, this one included.
    """

    name: str
    vector: np.ndarray
    others: tuple[Sequence[str], np.ndarray] = dataclasses.field(repr=False)

    @property
    def similarities(self) -> dict[str, float]:
        """{name: cosine} of the other texts that were asked with this one, the most similar first."""
        names, vectors = self.others
        cosines = vectors @ self.vector
        ranked = np.argsort(-cosines, kind="stable")
        return {names[row]: float(cosines[row]) for row in ranked if names[row] != self.name}

    def show(self, top: int) -> str:
        """The `top` most similar of the others; of a text alone, the first numbers of its vector."""
        if len(self.others[0]) == 1:
            more = " ..." if len(self.vector) > 8 else ""
            return f"{' '.join(f'{number:.4f}' for number in self.vector[:8])}{more}"
        return "   ".join(f"{name} {cosine:.3f}" for name, cosine in list(self.similarities.items())[:top])

    def row(self, top: int) -> dict[str, str]:
        """{column: text} of a table: the vector."""
        return {f"x{number}": f"{value:.7g}" for number, value in enumerate(self.vector.tolist())}


def make_embedded(names: Sequence[str], vectors: np.ndarray) -> list[Embedded]:
    """An `Embedded` for each name, of vectors (n, width)."""
    vectors = np.asarray(vectors, "float32")
    return [Embedded(name, vector, (names, vectors)) for name, vector in zip(names, vectors, strict=True)]


def partners(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The row of `second` (n, width) that each row of `first` has the largest scalar product with, integers (n,)."""
    starts = range(0, len(first), ROWS)
    return np.concatenate([(first[start : start + ROWS] @ second.T).argmax(axis=1) for start in starts])
