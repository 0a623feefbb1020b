"""An image asked in tiles: what is held in memory is the image and one tile's answer."""

from collections.abc import Callable, Iterator

import numpy as np

from zoo.errors import InputError


def tiles(
    answer: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    *,
    tile: int,
    overlap: int,
    margin: int = 0,
    step: int = 1,
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, logits) of an image, a tile after the other: slices, and logits of just those pixels.

    Beyond the border the image is mirrored, as in the paper. Half of `overlap` is dropped on each side of a tile:
    where a network sees no farther than that, an answer is that of the whole image, but within that distance of the
    image's border, where the whole image meets the network's own padding. Tiles are made a little smaller, and
    their overlap larger, where they would not lie on the grid of the network otherwise.

    Args:
        answer: from float32 (1, height, width, channels) to logits (1, height - 2 margin, width - 2 margin, classes).
        image: (height, width, channels).
        tile: side of the squares asked.
        overlap: pixels that neighbours share.
        margin, step: of the network, as of `zoo.tasks.Segmentation`.
    Raises: `InputError` where the overlap leaves nothing of a tile.
    Reference: Ronneberger, Fischer & Brox 2015, "U-Net", figure 2.
    """
    beyond = -(-max(overlap // 2 - margin, 0) // step) * step  # answered and dropped
    around = margin + beyond
    core = (tile - 2 * around) // step * step
    if core <= 0:
        raise InputError(f"tile must be at least {2 * around + step} with overlap={overlap}. Received: tile={tile}.")
    height, width = picture.shape[:2]
    rows, columns = (np.pad(np.arange(size), (around, around + core), mode="reflect") for size in (height, width))
    for top in range(0, height, core):
        strip = picture[rows[top : top + core + 2 * around]]
        for left in range(0, width, core):
            piece = strip[:, columns[left : left + core + 2 * around]].astype("float32")
            logits = answer(piece[None])[0, beyond : beyond + core, beyond : beyond + core]
            down, right = slice(top, min(top + core, height)), slice(left, min(left + core, width))
            yield down, right, logits[: down.stop - top, : right.stop - left]
