"""Tasks: the kinds of problem. A task adds to `Recipe` what all recipes of its kind share."""

from zoo.tasks._classes import Prediction
from zoo.tasks._embedded import Embedded
from zoo.tasks._written import Written
from zoo.tasks.image_classification import ImageClassification
from zoo.tasks.language_model import LanguageModel
from zoo.tasks.masked_language_model import MaskedLanguageModel
from zoo.tasks.segmentation import Segmentation
from zoo.tasks.sequence_to_sequence import SequenceToSequence
from zoo.tasks.tabular_prediction import TabularPrediction
from zoo.tasks.text_classification import TextClassification
from zoo.tasks.text_embedding import TextEmbedding

__all__ = [
    "Embedded",
    "ImageClassification",
    "LanguageModel",
    "MaskedLanguageModel",
    "Prediction",
    "Segmentation",
    "SequenceToSequence",
    "TabularPrediction",
    "TextClassification",
    "TextEmbedding",
    "Written",
]
