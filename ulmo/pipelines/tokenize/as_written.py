"""Whether the outputs of a recording are those that an earlier job wrote."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ulmo.config import UserError
from ulmo.formats.folder import TokenizeManifest
from ulmo.formats.places import refuse_linked_folders
from ulmo.formats.publish import endings_of, output_paths, tokens_hash, whole_at
from ulmo.jobs.outcome import Tokenized
from ulmo.storage.plain_file import file_hash, read_unlinked
from ulmo.storage.sealed import MAX_JSON_BYTES


def is_as_written(outputs: Iterable[Path], row: Tokenized, made: TokenizeManifest) -> bool:
    """Whether the outputs of a recording are those that a job of `made` wrote for its row.

    Raises UserError if one of them cannot be read.
    """
    outputs = list(outputs)
    if _is_same_to_the_byte(outputs, row, made):
        return True
    there = []
    for output in outputs:
        paths = output_paths(output, made.file_format)
        if (stored := whole_at(paths)) is None or len(stored.headers) != 1:
            return False
        there.append(stored)
        header = stored.header
        found = (header.fingerprint, header.unk_quantile, header.recording, header.columns)
        if found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
            return False
    unknown = sum(stored.header.unknown for stored in there)
    digest = tokens_hash(there, endings_of(made.file_format)) if there else None
    return (unknown, digest) == (row.unknown, row.tokens_sha256)


def _is_same_to_the_byte(outputs: Sequence[Path], row: Tokenized, made: TokenizeManifest) -> bool:
    """The same where the bytes of the headers have the hash in the row: these need no checks.

    False says nothing: files in other formats may share a header, and it may be damaged.
    """
    unknown = 0
    running, named = sha256(), []
    with suppress(UserError, OSError, ValueError, KeyError):
        for output in outputs:
            paths = output_paths(output, made.file_format)
            refuse_linked_folders(paths.header)
            content = read_unlinked(paths.header, MAX_JSON_BYTES)
            running.update(content)
            named.append((paths, content))
        if not named or running.hexdigest() != row.tokens_sha256:
            return False
        for paths, content in named:
            header = json.loads(content)
            unknown += header["unknown"]
            fields = ("fingerprint", "unk_quantile", "recording", "columns")
            found = tuple(header[name] for name in fields)
            if found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
                return False
            for path, ending in zip(paths.files, paths.endings, strict=True):
                if file_hash(path) != header["hashes"][ending]:
                    return False
        return unknown == row.unknown
    return False
