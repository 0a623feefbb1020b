"""Training: from a recipe and its data to a run that survives."""

from zoo.training.batches import dataset as dataset
from zoo.training.fitting import make_callbacks as make_callbacks
from zoo.training.fitting import train as train
from zoo.training.plan import Plan as Plan
from zoo.training.plan import direction as direction
from zoo.training.plan import make_plan as make_plan
from zoo.training.plan import reported as reported
from zoo.training.probe import PROBE as PROBE
from zoo.training.probe import make_answers as make_answers
