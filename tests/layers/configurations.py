"""Which configurations of a layer the quick suite checks how far."""

import pytest


def thorough_once(*cases):
    """`cases` with a last value, `thorough`: True for the first and, in the slow suite, for each of the others too.

    What only a thorough check asserts (saving, exporting, 50 steps in half precision) then holds for one configuration
    in the quick suite and for all of them in the slow one. The first should be the one with most in it.
    """
    first, *others = cases
    whole = [pytest.param(*case, True, marks=pytest.mark.slow) for case in others]
    return [(*first, True), *((*case, False) for case in others), *whole]
