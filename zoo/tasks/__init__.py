"""Tasks: the kinds of problem. A task adds to `Recipe` what all recipes of its kind share."""

from zoo.tasks._classes import Prediction
from zoo.tasks.image_classification import ImageClassification
from zoo.tasks.segmentation import Segmentation
from zoo.tasks.tabular_prediction import TabularPrediction

__all__ = ["ImageClassification", "Prediction", "Segmentation", "TabularPrediction"]
