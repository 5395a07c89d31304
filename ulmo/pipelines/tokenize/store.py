"""Tokens of recordings, written to an output in a store, such as s3://bucket/tokens."""

from collections.abc import Sequence
from pathlib import Path

from ulmo.formats.places import COMMAND
from ulmo.jobs.spread import BY_FILES, Spread
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files
from ulmo.storage.packed import Packed
from ulmo.storage.remote_output import Records, staged_output
from ulmo.storage.remote_path import RemotePath, check_apart
from ulmo.tokenizer import Tokenizer

_RECORDS = Records.of(COMMAND)


def tokenize_to_store(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    options: TokenizeOptions,
    *,
    out: RemotePath,
    spread: Spread = BY_FILES,
    listener: Listener,
) -> Sequence[Result]:
    """As `tokenize_files`, to a folder of this computer that is put into the store."""
    check_apart([*sources, out])
    with staged_output(out, _RECORDS) as folder:

        def named(result: Result) -> Result:
            return result._replace(outputs=[out / p.relative_to(folder) for p in result.outputs])

        heard = listener._replace(
            done=lambda result: listener.done(named(result)),
            warn=lambda line: listener.warn(line.replace(str(folder), str(out))),
        )
        results = tokenize_files(
            tokenizer, sources, options, out=folder, spread=spread, listener=heard
        )
    return Packed(map(named, results))
