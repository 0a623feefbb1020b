"""Tasks: the kinds of problem. A task adds to `Recipe` what all recipes of its kind share."""

from zoo.tasks.image_classification import ImageClassification

__all__ = ["ImageClassification"]
