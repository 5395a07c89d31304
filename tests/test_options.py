"""Options made from settings: their headings, words and choices; help of a command."""

import click
import pytest
from click.testing import CliRunner

from ulmo.cli.main import ulmo
from ulmo.cli.options import Command, given, option, settings_options
from ulmo.config import (
    QUANTIZER_TRAITS,
    AugmentSettings,
    ClockSettings,
    ModelSettings,
    PrepSettings,
    TrainSettings,
    help_texts,
)

ALL = [AugmentSettings, ClockSettings, ModelSettings, PrepSettings, TrainSettings]


@click.command(
    cls=Command,
    short_help="Recordings to tiles",
    examples=("ulmo-toy field/ tiles/", "ulmo-toy field/ tiles/ --frontend cqt"),
)
@option("--quiet", is_flag=True, help="Say nothing.")
@option("--workers", type=int, group="Output", help="Processes.")
@settings_options(ModelSettings)
@settings_options(TrainSettings, without={"beside"})
@settings_options(PrepSettings, without={"tile_size"})
def toy(quiet, workers, **flags):
    """Do nothing, and say what was given."""
    click.echo(given(flags, PrepSettings) | given(flags, TrainSettings))


def run(*arguments):
    return CliRunner().invoke(toy, list(map(str, arguments)))


@pytest.fixture(scope="module")
def page():
    return run("--help").stdout


@pytest.mark.parametrize("settings", ALL)
def test_every_setting_has_one_heading_and_one_short_sentence(settings):
    names = [name for group in settings.groups.values() for name in group]
    assert sorted(names) == sorted(settings.model_fields)
    for name in settings.model_fields:
        first = help_texts(settings)[name].split("\n")[0]
        assert first.endswith((".", "%Y%m%d_%H%M%S.")), name
        assert len(first) <= 100, name


def test_options_stand_under_their_headings_and_the_rest_comes_last(page):
    headings = [line for line in page.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        *("Output:", "Model:", "Codebook:", "Objectives:", "Views:", "Optimisation:"),
        *("Recording:", "Front end:", "Levels:", "Tiles:"),
        *("Options:", "Exit status:", "Examples:"),
    ]
    part = page[page.index("Codebook:") : page.index("Objectives:")]
    assert "--CB, --codebook-size INTEGER" in part
    assert page[page.index("Options:") :].count("--") == 3  # --quiet, --help, --frontend


def test_help_ends_with_the_examples(page):
    assert page.endswith(
        "Examples:\n  ulmo-toy field/ tiles/\n  ulmo-toy field/ tiles/ --frontend cqt\n"
    )


def test_choices_have_words_and_settings_their_users(page):
    text = " ".join(page.split())
    assert f"--quantizer [{'|'.join(QUANTIZER_TRAITS)}]" in text
    assert "fsq (fixed grid)" in text
    assert "mel (mel filter bank)" in text
    assert "(Ahalt et al. 1990). Only for ema. [default: 0.0]" in text
    assert "Only for stft, mel." in text
    assert "--objective NAME[=WEIGHT],..." in text


def test_the_short_help_is_the_line_in_a_list():
    group = click.Group("ulmo", commands=[toy])
    assert "  toy  Recordings to tiles\n" in CliRunner().invoke(group, ["--help"]).stdout


def test_only_what_was_given_arrives():
    result = run("--frontend", "cqt", "--objective", "simclr=2", "--seed", 3)
    assert result.stdout == "{'frontend': 'cqt', 'objective': 'simclr=2', 'seed': 3}\n"
    assert run("--frontend", "cqtt").exit_code == 2
    assert "'1,x' is not numbers with commas" in run("--stage-sizes", "1,x").stderr


def test_without_its_source_help_has_the_options_alone(monkeypatch):
    def gone(_):
        raise OSError("source code not available")

    monkeypatch.setattr("inspect.getsource", gone)
    help_texts.cache_clear()
    try:
        done = run("--help")
    finally:
        help_texts.cache_clear()
    assert done.exit_code == 0
    assert "--tile-size" in done.stdout


def ranges(command):
    """Options of a command, and of those below it, that take a number of a range."""
    for each in getattr(command, "commands", {}).values():
        yield from ranges(each)
    yield from (each for each in command.params if isinstance(each.type, click.FloatRange))


def test_no_number_of_a_range_is_infinite_or_none():
    """click alone takes nan for a number of any range."""
    found = list(ranges(ulmo))
    assert {"seconds", "start_s", "temperature"} <= {each.name for each in found}
    for each in found:
        for text in ("nan", "inf"):
            with pytest.raises(click.BadParameter, match=r"not a finite number|not in the range"):
                each.type.convert(text, each, None)
