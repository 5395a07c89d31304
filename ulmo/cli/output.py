"""How a command shows its result on stdout."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click


class Output(NamedTuple):
    """How a command shows its result on stdout: in words, as one JSON object, or not at all."""

    as_json: bool = False
    quiet: bool = False

    @property
    def in_words(self) -> bool:
        """Whether lines for people are printed."""
        return not (self.as_json or self.quiet)

    def show(self, words: Callable[[], str], facts: Callable[[], Mapping[str, Any]]) -> None:
        """Print the result; `facts` are those of the JSON object, which goes before --quiet.

        The JSON is ASCII: each terminal shows it, and each pipe takes it.
        """
        if self.as_json:
            from ulmo.storage.sealed import json_values

            click.echo(json.dumps(json_values(facts()), indent=2, allow_nan=False))
        elif not self.quiet:
            click.echo(words())
