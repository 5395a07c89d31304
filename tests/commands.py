"""Commands run in this process."""

from click.testing import CliRunner

from ulmo.cli import exits

TINY_SOUND = ("--frontend", "stft", "-M", "32", "--sample-rate", "8000", "--hop-length", "64")
TINY = (*TINY_SOUND, "--workers", "1")  # others take a second to start


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def assert_refused(result, *words):
    """Status 2, and one line on stderr that has the words."""
    assert result.exit_code == exits.WRONG_USAGE, result.output
    assert result.stdout == ""
    message = result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in message
