"""The history of a run as CSV."""

import csv
import io


def table(rows, columns=None):
    """Mappings as CSV text; columns in the order in which they first come, where they are not given."""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
