"""The command line, a file for each noun. It loads Keras only in the verbs that need it."""

from zoo.cli.group import main as main
