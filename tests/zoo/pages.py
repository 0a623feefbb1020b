"""A page of ours, read back."""

import html.parser


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text of each section by its id."""

    def __init__(self, path):
        super().__init__()
        self.path, self.source = path, path.read_text("utf-8")
        self.tags, self.sections, self._section = [], {"": ""}, ""
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self._section = dict(attributes)["id"]
            self.sections[self._section] = ""

    def handle_data(self, data):
        self.sections[self._section] += data + "|"

    def cells(self, section):
        return [cell.strip() for cell in self.sections[section].split("|") if cell.strip()]
