"""The weight of pixels between cells that nearly touch."""

import math

import numpy as np


def border_weights(mask: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """What the loss of each pixel gets beside its class's weight, float32 (height, width).

    w(x) = w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)) on class 0, and 0 elsewhere, with d1 and d2 the distances to the
    nearest and the second nearest cell. Cells are the regions of class 1 that hang together by their sides.

    Where the sum of the distances is above 6 sigma, the weight, below 2e-8 w0, is left out.

    Args:
        mask: integers (height, width).
    Reference: Ronneberger, Fischer & Brox 2015, "U-Net", equation 2.
    """
    from scipy import ndimage

    reach = math.ceil(6 * sigma)
    cells, _ = ndimage.label(mask == 1)
    nearest = np.full((2, *mask.shape), np.inf, "float32")  # the two least distances so far
    for number, box in enumerate(ndimage.find_objects(cells), 1):
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(cells[around] != number)
        first, second = nearest[0][around], nearest[1][around]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    weights = w0 * np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma**2))
    return np.where(mask == 0, weights, 0.0).astype("float32")
