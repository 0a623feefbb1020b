"""What pages are made of: parts, tables, and figures for a light and a dark screen.

Tasks compose their part of a report of these. matplotlib and scikit-learn are imported where they are used; figures
are made through matplotlib's object API, so that no state is shared with whoever else draws.
"""

from zoo.figures.axes import cut as cut
from zoo.figures.axes import drawable as drawable
from zoo.figures.axes import dress as dress
from zoo.figures.axes import label as label
from zoo.figures.axes import legend as legend
from zoo.figures.axes import logarithmic as logarithmic
from zoo.figures.axes import new as new
from zoo.figures.axes import number_epochs as number_epochs
from zoo.figures.axes import panel as panel
from zoo.figures.axes import scale as scale
from zoo.figures.axes import title as title
from zoo.figures.classes import LISTED as LISTED
from zoo.figures.classes import NUMBERED as NUMBERED
from zoo.figures.classes import confusion as confusion
from zoo.figures.classes import matrix as matrix
from zoo.figures.classes import scores as scores
from zoo.figures.curves import compared as compared
from zoo.figures.curves import curves as curves
from zoo.figures.curves import learning as learning
from zoo.figures.curves import readings as readings
from zoo.figures.parts import Part as Part
from zoo.figures.parts import Table as Table
from zoo.figures.pictures import DRAWN as DRAWN
from zoo.figures.pictures import gallery as gallery
from zoo.figures.pictures import tinted as tinted
from zoo.figures.theme import CLASS_COLOURS as CLASS_COLOURS
from zoo.figures.theme import DARK as DARK
from zoo.figures.theme import DPI as DPI
from zoo.figures.theme import FONT as FONT
from zoo.figures.theme import LEGEND as LEGEND
from zoo.figures.theme import LIGHT as LIGHT
from zoo.figures.theme import NARROW as NARROW
from zoo.figures.theme import SMALL as SMALL
from zoo.figures.theme import WIDTH as WIDTH
from zoo.figures.theme import Theme as Theme
