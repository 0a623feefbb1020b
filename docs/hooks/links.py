"""Links between pages: as they stand in the repository, and as they stand on the site."""

import posixpath
import re

ELSEWHERE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""{file of the repository: page of the site}; files below docs/ are pages under their own path."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)(?=[)#])")
_FILE = re.compile(r"^<!-- file: (\S+) -->\n```(\w+)$", re.MULTILINE)
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def source_of(uri: str) -> str:
    """Returns the file of the repository that the page at `uri` is made of."""
    return next((file for file, page in ELSEWHERE.items() if page == uri), f"docs/{uri}")


def page_of(file: str) -> str | None:
    """Returns the page of a file of the repository; None where it has none."""
    if file in ELSEWHERE:
        return ELSEWHERE[file]
    if file == "README.md":
        return "index.md"
    if re.fullmatch(r"recipes/[a-z]\w*\.py", file):
        return f"reference/recipes/{file[len('recipes/') : -len('.py')]}.md"
    return file.removeprefix("docs/") if file.startswith("docs/") else None


def on_the_site(markdown: str, uri: str) -> str:
    """Returns the text of the page at `uri` as the site needs it: its links, and titles of blocks that are files.

    A link to a file that has no page is left as it is: the strict build refuses it.
    """
    folder = posixpath.dirname(source_of(uri))

    def moved(match: re.Match[str]) -> str:
        page = page_of(posixpath.normpath(posixpath.join(folder, match[1])))
        return match[1] if page is None else posixpath.relpath(page, posixpath.dirname(uri) or ".")

    parts = _FENCE.split(_FILE.sub(r'```\2 title="\1"', markdown))
    parts[::2] = [_LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)
