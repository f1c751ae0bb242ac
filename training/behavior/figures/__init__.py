"""All figures of one evaluation of a behavior model, from probabilities, labels and clips."""

from training.behavior.figures.answers import Answers, Prediction, from_logits
from training.behavior.figures.measure import BehaviorFigures, measure
from training.behavior.figures.second import SecondLabels
from training.behavior.figures.summary import as_dict, summarize

__all__ = [
    "Answers",
    "BehaviorFigures",
    "Prediction",
    "SecondLabels",
    "as_dict",
    "from_logits",
    "measure",
    "summarize",
]
