"""How good texts are that a network wrote: exact match, BLEU and chrF; and the parts of a report about them."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 60
"""Tokens of a text in a picture at most."""


def scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{name: value} of texts beside the one reference of each, in their order.

    exact_match: the part that equals its reference; bleu and chrf: 0 to 100, of all texts together.
    Reference: Papineni et al. 2002; Popovic 2015; Post 2018, "A Call for Clarity in Reporting BLEU Scores" (sacrebleu).
    """
    import sacrebleu

    return {
        "exact_match": float(np.mean([one == other for one, other in zip(answers, references, strict=True)])),
        "bleu": sacrebleu.corpus_bleu(answers, [references]).score,
        "chrf": sacrebleu.corpus_chrf(answers, [references]).score,
    }


def table(found: Mapping[str, float], count: int, split: str) -> figures.Part:
    """The `Part` with what `scores` found on `count` texts of a split."""
    rows = [(name.replace("_", " "), value) for name, value in found.items()]
    return figures.Part(
        name="scores",
        title="Scores of what is written",
        caption=f"{count:,} texts of the {split} split, decoded as the recipe says. Exact match is a part of 1, "
        "BLEU and chrF of 100.",
        table=figures.Table(("score", "value"), rows),
    )


def samples(name: str, title: str, caption: str, rows: list[tuple[Any, ...]]) -> figures.Part:
    """The `Part` with rows (text, what is right, what was written, its score)."""
    return figures.Part(
        name=name,
        title=title,
        caption=caption,
        table=figures.Table(("text", "right", "written", "score"), rows),
    )


def attention(panels: Iterable[tuple[np.ndarray, Sequence[str], Sequence[str]]]) -> figures.Part:
    """The `Part` with attention weights.

    Args:
        panels: (weights (time, positions), tokens written, tokens read) of each text.
    """
    panels = [(weights[:SHOWN, :SHOWN], written[:SHOWN], read[:SHOWN]) for weights, written, read in panels]
    return figures.Part(
        name="attention",
        title="Attention",
        caption="What the network looks at, across, as it writes each token, down: the darker, the more.",
        draw=functools.partial(_draw_attention, panels),
    )


def _draw_attention(
    panels: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]], theme: figures.Theme
) -> "Figure":
    from matplotlib.colors import LinearSegmentedColormap

    heights = [0.7 + 0.22 * len(written) for _, written, _ in panels]
    figure = figures.new(theme, sum(heights), layout="constrained")
    ramp = LinearSegmentedColormap.from_list("ramp", theme.ramp)
    for axes, (weights, written, read) in zip(
        figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0], panels, strict=True
    ):
        figures.dress(axes, theme)
        axes.imshow(weights, cmap=ramp, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        style = {"fontsize": 8, "fontfamily": figures.FONT, "color": theme.ink, "parse_math": False}
        for names, put in ((read, axes.set_xticks), (written, axes.set_yticks)):
            shown = ["·" if one.isspace() else figures.drawable(one, number) for number, one in enumerate(names)]
            put(range(len(names)), shown, **style)
        axes.xaxis.tick_top()
    return figure
