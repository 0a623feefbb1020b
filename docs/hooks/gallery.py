"""The gallery: a card for each recipe, with what it is for, what it costs, and how well it does."""

import functools
import json
import re

import pages
import samples

from zoo import registry
from zoo.fields.texts import spoken
from zoo.registry.sketching import sketch

KINDS = {
    "Images": {"image_classification": "images.md", "segmentation": "segmentation.md"},
    "Tables": {"tabular_prediction": "tables.md"},
    "Texts": {
        "sequence_to_sequence": "text.md",
        "language_model": "text.md",
        "masked_language_model": "text.md",
        "text_classification": "text.md",
        "text_embedding": "text.md#vectors-of-texts",
    },
}
"""{heading: {task: its guide}}."""

ABOVE = """---
hide: [navigation]
---

# Recipes

A recipe is one model, whole: its numbers, its network, its objective, its data and its search ranges. Every command
here runs as it stands: the data are in the package. Parameters are those that `zoo show NAME` counts; scores are on the
test split, and link to the table that has the seeds and the seconds.
"""

_CITATION = re.compile(r'((?:[A-Z][\w-]+(?:, | & ))*[A-Z][\w-]+(?: et al\.)?) (\d{4})(?:, ("[^"]+"))?')


def generated() -> dict[str, str | bytes]:
    """Returns {uri: content} of the gallery and its images."""
    parts, images, entries = [ABOVE], {}, {entry.name: entry for entry in registry.entries()}
    for heading, tasks in KINDS.items():
        parts += [f"## {heading}", '<div class="grid" markdown>']
        for name in pages.recipes():
            if entries[name].task in tasks:
                text, shown = card(name, entries[name], tasks[entries[name].task or ""])
                parts.append(text)
                images |= shown
        parts.append("</div>")
    return {"recipes.md": "\n\n".join(parts) + "\n", **images}


def card(name: str, entry: registry.Entry, guide: str) -> tuple[str, dict[str, bytes]]:
    """Returns (Markdown, {uri: image}) of a recipe's card."""
    cls = sketch(name)
    assert cls is not None, name
    dataset = str(cls.field("dataset").default)
    shown, images = samples.sample(dataset.partition(":")[0])
    text = " ".join(pages.docstring(pages.ROOT / "recipes" / f"{name}.py", cls.__name__).split())
    facts = {
        "Task": f"[{(entry.task or '').replace('_', ' ')}]({guide})",
        "Parameters": f"{parameters(name):,}",
        "Data": f"`{dataset}`",
        "Variants": ", ".join(f"`{variant}`" for variant in cls.variants),
        "Weights": weights(name),
        "Score": score(name, text),
        "Paper": paper(text),
    }
    parts = [
        '<div class="card" markdown>',
        f'<div class="sample" markdown>\n\n{shown}\n\n</div>',
        f"### [`{name}`](reference/recipes/{name}.md)",
        entry.summary,
        "<br>\n".join(f"**{title}** {fact}" for title, fact in facts.items() if fact),
        f"```sh\nzoo train {name}\n```",
        "</div>",
    ]
    return "\n\n".join(parts), images


def paper(text: str) -> str:
    """Returns the first citation of a docstring: authors, year and title.

    >>> paper('See He, Zhang, Ren & Sun 2016, "Deep Residual Learning for Image Recognition".')
    'He, Zhang, Ren & Sun 2016, *Deep Residual Learning for Image Recognition*'
    """
    found = _CITATION.search(text)
    if found is None:
        return ""
    return f"{found[1]} {found[2]}" + (f", *{found[3].strip(chr(34))}*" if found[3] else "")


def weights(name: str) -> str:
    """Returns what a recipe's network can start from without training: weights of the package, and published ones."""
    cards = sorted((pages.ROOT / "zoo" / "pretrained").glob("*/card.json"))
    shipped = (json.loads(path.read_text())["name"] for path in cards)
    found = [f"`zoo:{one}`" for one in shipped if one.partition("/")[0] == name]
    if f"\n| `{name}` |" in (pages.ROOT / "docs" / "pretrained.md").read_text():
        found.append("[published checkpoints](pretrained.md#what-can-be-read)")
    return ", ".join(found)


def score(name: str, text: str = "") -> str:
    """Returns what a recipe reaches: by the card of its weights, a table of the benchmarks, or its docstring `text`."""
    shipped = pages.ROOT / "zoo" / "pretrained" / name / "card.json"
    if shipped.is_file():
        told = json.loads(shipped.read_text())
        metric, count = spoken(told["metric"]), len(told["scores"])
        mean = sum(told["scores"]) / count
        return f"[{metric} {mean:.4f}](pretrained.md#weights-of-our-own), mean of {count} seeds"
    for section, caption, head, rows in tables():
        link = f"(benchmarks.md#{section})"
        if f"`{name}`" in head:
            (row,) = [row for row in rows if row[0] == "mean"] or [rows[0]]
            return f"[{row[head.index(f'`{name}`')]}]{link}, {caption}"
        for row in rows:
            if not re.match(rf"`{name}`(?! *[\w=])", row[0]):
                continue
            cells = dict(zip(head, row, strict=True))
            wanted = {"mean": cells["mean"]} if "mean" in cells else dict(list(cells.items())[1:])
            told = ", ".join(cell if title == "mean" else f"{cell} ({title})" for title, cell in wanted.items() if cell)
            return f"[{told}]{link}, {caption}"
    said = re.search(rf"`zoo train {name}[^`]*` [^;(]*%[^;(]*", text)
    return said[0].strip() if said else ""


@functools.cache
def tables() -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Returns (anchor of the section, first words above, head, rows) of every table of the benchmarks with scores."""
    found = []
    for section in re.split(r"^## ", (pages.ROOT / "docs" / "benchmarks.md").read_text(), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        for match in re.finditer(r"((?:^[^|\s].*\n)+)\n((?:^\|.*\n)+)", body, re.MULTILINE):
            lines = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in match[2].splitlines()]
            head, rows = lines[0], [line + [""] * (len(lines[0]) - len(line)) for line in lines[2:]]
            caption = re.split(r"[,.;:] | \(", " ".join(match[1].split()))[0]
            caption = caption[:1].lower() + caption[1:]
            found.append((re.sub(r"[^\w]+", "-", title.lower()).strip("-"), caption, head, rows))
    return found


@functools.cache
def parameters(name: str) -> int:
    """Returns the parameters of a recipe's network, which is built for it."""
    from zoo.cost import summarize

    made = registry.recipe(name)
    return summarize(made.network(), made.example_shape(), made.batch_size).parameters
