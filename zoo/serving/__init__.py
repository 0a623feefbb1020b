"""A trained network, asked: `prediction` in this process, `exporting` for others."""
