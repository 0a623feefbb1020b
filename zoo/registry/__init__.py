"""Recipes by name: the files of `recipes/`, the entry-point group `zoo.recipes`, and files of one's own."""

from zoo.registry.finding import check_name as check_name
from zoo.registry.finding import find as find
from zoo.registry.finding import is_file as is_file
from zoo.registry.finding import names as names
from zoo.registry.finding import parts_of as parts_of
from zoo.registry.finding import task_names as task_names
from zoo.registry.headers import Entry as Entry
from zoo.registry.headers import entries as entries
from zoo.registry.opening import configured as configured
from zoo.registry.opening import decided as decided
from zoo.registry.opening import open_recipe as open_recipe
from zoo.registry.opening import recipe as recipe
from zoo.registry.pretrained import checkpoint as checkpoint
from zoo.registry.pretrained import config_of as config_of
from zoo.registry.pretrained import recipe_of as recipe_of
from zoo.registry.pretrained import written_as as written_as
from zoo.registry.references import reference as reference
from zoo.registry.references import refuse_untrusted as refuse_untrusted
from zoo.registry.references import remember as remember
from zoo.registry.references import resolve as resolve
from zoo.registry.references import restored as restored
from zoo.registry.references import saved as saved
from zoo.registry.references import sketched as sketched
from zoo.registry.sketching import sketch as sketch
