"""Test mean IoU of `unet` on the cells, over seeds of the data, beside a threshold and a watershed.

    python benchmarks/cells.py

The network trains as `zoo train unet dataset=cells:seed=N` does and is judged on whole images of the test split, by
the weights that the validation split chose. The baseline takes out the uneven light, thresholds by Otsu's method,
splits what touches by a watershed on the distance to the background, and borders the pieces as the data border cells;
its four numbers are chosen by the mean IoU on the whole training split, of all combinations of those in `GRID`.
"""

import argparse
import itertools

import numpy as np
from _training import trained
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects
from skimage.segmentation import watershed

from zoo.data import open_source
from zoo.data.cells import mask_of

GRID = {
    "smooth": (0.0, 0.5, 1.0, 2.0),  # sigma of the Gaussian against noise, pixels
    "light": (20, 30, 50),  # sigma of the Gaussian whose result counts as the light, pixels
    "factor": (0.8, 1.0, 1.2, 1.4, 1.7),  # of Otsu's threshold
    "apart": (5, 7, 9),  # least distance of two cells' middles, pixels
}


def watershed_mask(picture, smooth, light, factor, apart):
    """Classes 0 background, 1 inside and 2 border of an image (height, width)."""
    picture = picture.astype(float)
    flat = ndimage.gaussian_filter(picture, smooth) / ndimage.gaussian_filter(picture, light, mode="reflect")
    middle = np.median(flat)  # more than half of an image is background
    cells = flat - middle > factor * (threshold_otsu(flat) - middle)
    cells = remove_small_objects(ndimage.binary_fill_holes(cells), max_size=40)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(cells), 1.0)
    pieces, _ = ndimage.label(cells)
    seeds = np.zeros(picture.shape, int)
    for number, place in enumerate(peak_local_max(depth, min_distance=apart, labels=pieces, exclude_border=False), 1):
        seeds[tuple(place)] = number
    numbers = watershed(-depth, seeds, mask=cells)
    return mask_of(numbers)


def mean_iou(pairs, classes=3):
    """Of (true mask, mask found) of all images together."""
    counts = sum(np.bincount((true * classes + found).ravel(), minlength=classes**2) for true, found in pairs)
    counts = counts.reshape(classes, classes)
    return float(np.mean(np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts))))


def baseline(source):
    """(test mean IoU, the numbers chosen)."""
    train, test = (
        [(one["image"][..., 0], one["mask"].astype(int)) for one in source.examples(split).as_numpy_iterator()]
        for split in ("train", "test")
    )

    def score(examples, values):
        return mean_iou((mask, watershed_mask(picture, **values)) for picture, mask in examples)

    tried = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    coarse = sorted(tried, key=lambda values: -score(train[::16], values))[:12]  # a tenth of the images sifts them
    best = max(coarse, key=lambda values: score(train, values))
    return score(test, best), best


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", default="unet")
    options = parser.parse_args()
    print(f"{'data':<16}{options.name:>8}{'watershed':>11}{'ahead':>8}{'seconds':>9}  numbers of the watershed")
    found = []
    for seed in range(options.seeds):
        data = f"cells:seed={seed}"
        theirs, chosen = baseline(open_source(data))
        scores, seconds, _ = trained(options.name, dataset=data, seed=seed)
        ours = scores["mean_iou"]
        found.append((ours, theirs, ours - theirs, seconds))
        numbers = ", ".join(f"{name} {value}" for name, value in chosen.items())
        print(f"{data:<16}{ours:>8.4f}{theirs:>11.4f}{ours - theirs:>8.4f}{seconds:>9.0f}  {numbers}", flush=True)
    ours, theirs, ahead, seconds = np.mean(found, axis=0)
    print(f"{'mean':<16}{ours:>8.4f}{theirs:>11.4f}{ahead:>8.4f}{seconds:>9.0f}")


if __name__ == "__main__":
    main()
