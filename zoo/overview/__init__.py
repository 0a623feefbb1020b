"""Runs and studies side by side: what stands in a folder, how runs compare, and how one goes on. No Keras is loaded."""

from zoo.overview.listing import Entry as Entry
from zoo.overview.listing import entries as entries
from zoo.overview.listing import look as look
