"""How good texts are that a network wrote: exact match, BLEU and chrF; and the parts of a report about them."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import figures
from zoo.fields.texts import spoken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 60
"""Tokens of a text in a picture at most."""

LETTERS = 14
"""Letters of a token in a picture at most."""


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
    rows = [(spoken(name), value) for name, value in found.items()]
    return figures.Part(
        name="scores",
        title="Scores of the answers",
        caption=f"{count:,} texts of the {split} split, decoded as the recipe says. Exact match is a fraction, from 0 "
        "to 1; BLEU and chrF are from 0 to 100.",
        table=figures.Table(("score", "value"), rows),
    )


def samples(name: str, title: str, caption: str, rows: list[tuple[Any, ...]]) -> figures.Part:
    """The `Part` with rows (text, reference, answer, score)."""
    return figures.Part(
        name=name,
        title=title,
        caption=caption,
        table=figures.Table(("text", "reference", "answer", "score"), rows),
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
        caption="The tokens of the text (columns) that the network attends to as it writes each token of its answer "
        "(rows). The weights of a row sum to 1.",
        draw=functools.partial(_draw_attention, panels),
    )


def _draw_attention(
    panels: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]], theme: figures.Theme
) -> "Figure":
    from matplotlib.colors import LinearSegmentedColormap

    most = theme.most(SHOWN)
    panels = [(weights[:most, :most], written[:most], read[:most]) for weights, written, read in panels]
    heights = [1.1 + 0.22 * len(written) + 0.07 * _longest(read) for _, written, read in panels]
    figure = figures.new(theme, sum(heights) + 0.7 * theme.narrow, layout="constrained")
    ramp = LinearSegmentedColormap.from_list("ramp", theme.ramp)
    deepest = max((float(weights.max()) for weights, _, _ in panels if weights.size), default=1.0)
    every = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for number, (axes, (weights, written, read)) in enumerate(zip(every, panels, strict=True), 1):
        figures.dress(axes, theme)
        axes.imshow(weights, cmap=ramp, vmin=0, vmax=deepest, aspect="auto", interpolation="nearest")
        style = {"fontsize": 8, "fontfamily": figures.FONT, "color": theme.ink, "parse_math": False}
        axes.set_xticks(range(len(read)), _tokens(read), **style)
        axes.set_yticks(range(len(written)), _tokens(written), **style)
        axes.xaxis.tick_top()
        for mark in axes.get_xticklabels():
            mark.set_rotation(90 if len(mark.get_text()) > 1 else 0)
        figures.title(axes, f"text {number}", theme)
        figures.label(axes, theme, xlabel="token of the text", ylabel="token of the answer")
        axes.xaxis.set_label_position("top")
    figures.scale(figure, every, every[0].images[0], theme, "attention weight")
    return figure


def _longest(tokens: Sequence[str]) -> int:
    return max(map(len, _tokens(tokens)), default=0)


def _tokens(tokens: Sequence[str]) -> list[str]:
    """Tokens as a figure shows them."""
    shown = ("·" if one.isspace() else figures.drawable(one, number) for number, one in enumerate(tokens))
    return [figures.cut(one, LETTERS) for one in shown]
