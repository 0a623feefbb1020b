"""The ids that mean the same in every vocabulary."""

PADDING, START, END, UNKNOWN = range(4)

SPECIAL = 4
"""How many there are: the first id of a token."""
