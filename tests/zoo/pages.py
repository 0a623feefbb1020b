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


def assert_readable(figure):
    """A figure's letters are 10 pixels high or more on a page, and nothing is cut off at its edges."""
    import matplotlib.text

    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text().strip()]
    assert min(text.get_fontsize() * 96 / 72 for text in shown) >= 10
    assert not [text for text in shown if "mathdefault" in text.get_text()]  # its exponents are small
    ink, paper = figure.get_tightbbox(), figure.bbox_inches
    assert min(ink.x0, ink.y0) >= -0.01
    assert ink.x1 <= paper.x1 + 0.01
    assert ink.y1 <= paper.y1 + 0.01
