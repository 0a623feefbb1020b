"""A command line, run in this process."""

from zoo import cli


def run(capture, arguments):
    """Runs `zoo ARGUMENTS`; returns (status, stdout, stderr), which `capture` (capfd or capsys) has read."""
    status = 0
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code or 0
    captured = capture.readouterr()
    return status, captured.out, captured.err
