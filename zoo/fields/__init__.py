"""Fields: what a hyperparameter may be, declared once.

A recipe is a frozen dataclass whose fields are made by `integer`, `real`, `choice` and the like. Each carries its
default, its legal range, its search range, the condition under which it is active and one line of help. Validation,
the command line, `zoo show` and the search space all read it from here.
"""

from zoo.fields.conditions import Condition as Condition
from zoo.fields.conditions import above as above
from zoo.fields.conditions import channels as channels
from zoo.fields.conditions import given as given
from zoo.fields.declared import Declared as Declared
from zoo.fields.declared import Origin as Origin
from zoo.fields.declaring import choice as choice
from zoo.fields.declaring import flag as flag
from zoo.fields.declaring import integer as integer
from zoo.fields.declaring import integers as integers
from zoo.fields.declaring import real as real
from zoo.fields.declaring import reals as reals
from zoo.fields.declaring import text as text
from zoo.fields.kinds import Choice as Choice
from zoo.fields.kinds import Field as Field
from zoo.fields.kinds import Flag as Flag
from zoo.fields.kinds import Integer as Integer
from zoo.fields.kinds import Real as Real
from zoo.fields.kinds import Sequence as Sequence
from zoo.fields.kinds import Text as Text
from zoo.fields.sweeping import sweep as sweep
from zoo.fields.texts import aligned as aligned
from zoo.fields.texts import from_json as from_json
from zoo.fields.texts import show as show
