"""Interpolated modified Kneser-Ney (Chen & Goodman 1998): what counting predicts of the next token."""

import collections
import math


class KneserNey:
    """A language model of n-grams.

    Args:
        text: a str, a character a token.
        order: of the longest n-grams.
        size: how many tokens there are; all are equally likely where nothing is known.
    """

    def __init__(self, text, order, size):
        self.order = order
        self.size = size
        counts = collections.Counter(text[end - order : end] for end in range(order, len(text) + 1))
        self._levels = []
        for length in range(order, 0, -1):
            if length < order:  # by how many tokens it is preceded
                counts = collections.Counter(gram[1:] for gram in counts)
            self._levels.insert(0, _Level(counts))

    def probability(self, context, token):
        """Of `token` behind `context`, a str of any length."""
        found = 1 / self.size
        for length, level in enumerate(self._levels[: len(context) + 1]):
            found = level.interpolated(context[len(context) - length :], token, found)
        return found

    def bits(self, text):
        """Bits of each token of `text` behind the first, on average."""
        start = self.order - 1
        found = (self.probability(text[max(0, end - start) : end], text[end]) for end in range(1, len(text)))
        return -sum(map(math.log2, found)) / (len(text) - 1)


class _Level:
    """N-grams of one length, and what is discounted of those that occur once, twice and more often."""

    def __init__(self, counts):
        self._counts = counts
        often = collections.Counter(counts.values())
        y = often[1] / (often[1] + 2 * often[2])
        self._discounts = [0.0] + [n - (n + 1) * y * often[n + 1] / often[n] if often[n] else 0.0 for n in (1, 2, 3)]
        self._totals, self._left = collections.Counter(), collections.Counter()
        for gram, count in counts.items():
            self._totals[gram[:-1]] += count
            self._left[gram[:-1]] += self._discounts[min(count, 3)]

    def interpolated(self, context, token, shorter):
        """The probability of `token` behind `context`, of that behind a shorter one."""
        total = self._totals.get(context)
        if total is None:
            return shorter
        count = self._counts.get(context + token, 0)
        return (count - self._discounts[min(count, 3)] + self._left[context] * shorter) / total
