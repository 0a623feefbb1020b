"""Runs: a run is a folder, and everything that reads a run reads only that folder."""

from zoo.runs.checkpoints import drop_checkpoints as drop_checkpoints
from zoo.runs.history import table as table
from zoo.runs.loading import Trained as Trained
from zoo.runs.loading import load as load
from zoo.runs.loading import open_trained as open_trained
from zoo.runs.pretrained import Pretrained as Pretrained
from zoo.runs.run import Run as Run
from zoo.runs.run import save_reader as save_reader
from zoo.runs.run import versions as versions
from zoo.runs.shipped import Shipped as Shipped
from zoo.runs.shipped import shipped_names as shipped_names
from zoo.runs.shipped import write_shipped as write_shipped
