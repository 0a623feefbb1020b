"""Wrong calls: pyright must find an error on each line that is marked so, and on no other. Nothing runs this file."""

import zoo
from zoo.layers import Subsampling2D

run = zoo.train("lenet", until="two")  # expect error
print(run.best_epok)  # expect error
layer = Subsampling2D(pool_size="two")  # expect error
zoo.bild("lenet")  # expect error
