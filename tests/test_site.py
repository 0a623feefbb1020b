"""The site: every public name, layer and field is on it, every link leads somewhere, and it asks no other host."""

import doctest
import importlib
import os
import pathlib
import posixpath
import re
import subprocess
import sys

import pytest

import zoo
from zoo import registry
from zoo.registry.sketching import sketch

ROOT = pathlib.Path(__file__).resolve().parent.parent


def hook(name):
    """A module of docs/hooks, as MkDocs imports it."""
    sys.path.insert(0, str(ROOT / "docs" / "hooks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "docs" / "hooks"))


def pages():
    """{uri: Markdown} of all pages, written and generated."""
    written = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
    return written | hook("pages").generated() | {"recipes.md": "# Recipes"}  # which costs too much here


def test_every_public_name_has_its_place_in_the_reference():
    directives = set(re.findall(r"^::: (\S+)$", "\n".join(pages().values()), re.MULTILINE))
    expected = {f"zoo.{module}.{name}" for name, module in zoo._PUBLIC.items()}
    for module in ("zoo.layers", "zoo.tasks", "zoo.testing"):
        expected |= {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    assert expected <= directives


def test_every_field_of_every_recipe_is_on_its_page():
    found = pages()
    for name in registry.names():
        page = found[f"reference/recipes/{name}.md"]
        rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
        assert sorted(rows) == sorted(sketch(name).fields())
        assert [f"`{name}/{variant}`" in page for variant in sketch(name).variants].count(False) == 0


def test_every_link_leads_to_a_page_and_to_a_file_of_the_repository():
    links, found = hook("links"), pages()
    for uri, page in found.items():
        prose = re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s:]+\.\w+)(?:#[\w-]+)?\)", links.on_the_site(prose, uri)):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(uri), target)) in found, (uri, target)
    for file in ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#\s:]+\.\w+)(?:#[\w-]+)?\)", (ROOT / file).read_text()):
            reached = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
            assert (ROOT / reached).is_file() or reached.removeprefix("docs/") in found, (file, target)


@pytest.mark.slow
def test_the_strict_build_holds_and_asks_no_other_host(tmp_path):
    """MkDocs itself checks links, anchors and references; a browser must find all it needs beside the pages."""
    pytest.importorskip("mkdocs")
    assert doctest.testmod(hook("docstrings")).failed == 0
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)"
        r"|<link(?![^>]*rel=\"?(?:canonical|next|prev))[^>]*\shref=\"?([^\s\">]+)"
        r"|url\(\"?([^)\"]+)"
    )
    for path in [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]:
        for target in ("".join(groups) for groups in loads.findall(path.read_text())):
            assert not re.match(r"(https?:)?//", target), (path.name, target)
    assert (tmp_path / "site" / "search" / "search_index.js").is_file()
    cards = (tmp_path / "site" / "recipes.html").read_text()
    assert all(f"<code>{name}</code>" in cards for name in registry.names())


def test_the_gallery_knows_papers_and_scores():
    gallery = hook("gallery")
    assert doctest.testmod(gallery).failed == 0
    assert "[accuracy 0.9" in gallery.score("resnet")  # of the card of its weights
    assert "[mean IoU 0.9" in gallery.score("unet")
    assert re.match(r"\[9\d\.\d+ %\]\(benchmarks\.md#digits\)", gallery.score("odenet"))
