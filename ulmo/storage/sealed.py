"""JSON of ours: written the same for the same values, sealed, and read believing nothing of it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ulmo.config import NewerError, Settings, UserError
from ulmo.config.errors import clipped, complaint
from ulmo.config.toml import read_most
from ulmo.storage.atomic import publish

MAX_JSON_BYTES = 1 << 20
"""Of a JSON file of ours, at most."""
FREE_BRACKETS = 256
SEAL = re.compile(rb',\n  "checksum": "(?P<hash>[0-9a-f]{64})"\n\}\n')
SEAL_BYTES = 85
"""How a sealed file ends: SHA-256 of all the bytes before."""
S = TypeVar("S", bound=Settings)


def read_json(
    path: Path,
    settings: type[S],
    *,
    newest: int,
    remedy: str,
    most: int | None = None,
    oldest: int = 1,
    outdated: str = "train again",
    sealed: bool = False,
) -> S:
    """What a JSON file of ours says, and believe nothing of it.

    `newest` is the schema version that this ulmo knows, `oldest` the first that it still reads,
    `remedy` what to do about a damaged file, `outdated` about one that is older, `most` how many
    bytes it may have, if not MAX_JSON_BYTES; a `sealed` file ends with its checksum. Raises
    UserError with one line.
    """
    content = read_most(path, most or MAX_JSON_BYTES)
    return parse_json(
        content,
        path,
        settings,
        newest=newest,
        oldest=oldest,
        remedy=remedy,
        outdated=outdated,
        sealed=sealed,
    )


def parse_json(
    content: bytes,
    path: Path,
    settings: type[S],
    *,
    newest: int,
    remedy: str,
    oldest: int = 1,
    outdated: str = "train again",
    sealed: bool = False,
) -> S:
    """The same, of what was read from `path`: UTF-8, no key twice, each value of its own type.

    A version from 1 to before `oldest` is one that this ulmo no longer reads.
    """
    values, text = _parsed(content, path, remedy)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > newest:
        raise NewerError(
            f"{path} was written by a newer ulmo (schema {clipped(version)}): upgrade ulmo"
        )
    if type(version) is int and 1 <= version < oldest:
        raise UserError(f"{path} was written by an older ulmo (schema {version}): {outdated}")
    if sealed:
        if not is_sealed(content):
            raise UserError(f"{path} is damaged (its checksum does not fit): {remedy}")
        del values["checksum"]
        text = json.dumps(values)
    try:
        return settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({complaint(error)}): {remedy}") from None


def _parsed(content: bytes, path: Path, remedy: str) -> tuple[Any, str]:
    """The values of JSON, and their text as pydantic may read it.

    A file of ours has more text than brackets; of brackets alone, a megabyte takes a hundred.
    """
    if content.count(b"{") + content.count(b"[") > FREE_BRACKETS + len(content) // 32:
        raise UserError(f"{path} is not JSON of ours: {remedy}")
    try:
        values = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
        return values, json.dumps(values)
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON: {remedy}") from None


def seal(text: str) -> bytes:
    """JSON of a table, indented by 2, with a checksum over all its bytes as the last key."""
    head = text.removesuffix("\n}").encode()
    digest = hashlib.sha256(head).hexdigest()
    return head + f',\n  "checksum": "{digest}"\n}}\n'.encode()


def is_sealed(content: bytes) -> bool:
    """True unless a byte of a sealed file was changed, added or lost."""
    found = SEAL.fullmatch(content, max(len(content) - SEAL_BYTES, 0))
    digest = hashlib.sha256(content[:-SEAL_BYTES]).hexdigest()
    return found is not None and found["hash"].decode() == digest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a key that stands twice could be read in two ways, and is refused."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Publish JSON that a person can read."""
    with publish(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_sealed(path: Path, settings: Settings) -> None:
    """Publish a manifest as JSON, with its checksum as the last key."""
    with publish(path) as file:
        file.write(seal(json.dumps(settings.model_dump(mode="json"), indent=2, allow_nan=False)))
