"""Weights: by the path of their variable, and as published checkpoints name and store them."""

from zoo.weights.by_path import array as array
from zoo.weights.by_path import averages as averages
from zoo.weights.by_path import inner as inner
from zoo.weights.by_path import is_adapter as is_adapter
from zoo.weights.by_path import is_seed as is_seed
from zoo.weights.by_path import labels as labels
from zoo.weights.by_path import merged as merged
from zoo.weights.by_path import of as of
from zoo.weights.by_path import of_optimizer as of_optimizer
from zoo.weights.by_path import open_keras as open_keras
from zoo.weights.by_path import put as put
from zoo.weights.by_path import put_optimizer as put_optimizer
from zoo.weights.by_path import read as read
from zoo.weights.by_path import variables as variables
from zoo.weights.by_path import write as write
