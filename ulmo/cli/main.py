"""ulmo: one command over all."""

import click

from ulmo.cli.convert import convert
from ulmo.cli.evaluate import evaluate
from ulmo.cli.export_hub import export_hub
from ulmo.cli.inspect import inspect_
from ulmo.cli.lm import lm
from ulmo.cli.look import look
from ulmo.cli.options import CONTEXT, Group, version_option
from ulmo.cli.prep import prep
from ulmo.cli.regions import regions
from ulmo.cli.repeats import repeats
from ulmo.cli.show import show
from ulmo.cli.tokenize import tokenize
from ulmo.cli.train import train
from ulmo.cli.verify import verify_


@click.group(cls=Group, context_settings=CONTEXT)
@version_option
def ulmo() -> None:
    """Large acoustic models: from any recording to tokens."""


for each in (
    *(prep, train, tokenize, evaluate, show, look),
    *(inspect_, convert, verify_, repeats, regions, lm, export_hub),
):
    ulmo.add_command(each)
