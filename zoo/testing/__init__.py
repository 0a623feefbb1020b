"""Checks that every layer and every recipe must pass, ours and those of other packages.

from zoo.testing import check_layer, check_recipe

def test_my_layer():
    check_layer(MyLayer, {"units": 3}, input_shape=(2, 5))

def test_my_recipe():
    check_recipe("my_recipe")
"""

from zoo.testing.layers import check_layer
from zoo.testing.recipes import check_recipe

__all__ = ["check_layer", "check_recipe"]
