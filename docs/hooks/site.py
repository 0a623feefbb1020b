"""Hooks of MkDocs: pages that are made from the code, and links that hold on the site as they do in the repository."""

from typing import Any

import gallery
import links
import pages
from mkdocs.structure.files import File, Files


def on_config(config: Any) -> Any:
    """Puts the generated pages of recipes and layers behind the entries of the navigation that introduce them."""
    reference = next(section["Reference"] for section in config.nav if "Reference" in section)
    sections = {"reference/layers/index.md": pages.layers(), "reference/recipes/index.md": pages.recipes()}
    for place, entry in enumerate(reference):
        for title, uri in entry.items() if isinstance(entry, dict) else ():
            if uri in sections:
                reference[place] = {title: [uri, *({name: page} for name, page in sections[uri].items())]}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages."""
    for uri, text in {**pages.generated(), **gallery.generated()}.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links to files of the repository into links to pages of the site."""
    return links.on_the_site(markdown, page.file.src_uri)
