"""JSON of ours: equal values give equal bytes, a checksum ends the file, reading is strict."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ulmo.config import NewerError, Settings, UserError, WholeFileError, whole_letters
from ulmo.config.errors import clipped, complaint
from ulmo.storage.atomic import publish
from ulmo.storage.names import portable
from ulmo.storage.plain_file import read_unlinked

MAX_JSON_BYTES = 1 << 20  # bytes of a JSON file of ours, but for a header of tokens
_FREE_BRACKETS = 256
_FREE_VALUES = 1 << 16
_MOST_KEYS = 1 << 12  # of an object: each that is unknown would be an error of a kilobyte
_SEAL = re.compile(rb',\n  "checksum": "(?P<hash>[0-9a-f]{64})"\n\}\n')  # the end of a sealed file
_SEAL_BYTES = 85
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z|\\\Z)', re.DOTALL)  # the last may lack its end
S = TypeVar("S", bound=Settings)


def read_json(
    path: Path,
    settings: type[S],
    *,
    newest: int,
    remedy: str,
    content: bytes | None = None,
    oldest: int = 1,
    outdated: str = "train again",
    sealed: bool = False,
) -> S:
    """The settings in a JSON file of ours: UTF-8, no key twice, each value of its own type.

    `content` is what the file holds, if it was read already; else it may have MAX_JSON_BYTES.
    `newest` is the schema version that this ulmo writes, and `oldest` the first that it reads.
    A `sealed` file ends with its checksum. Raises UserError with one line, which ends with `remedy`
    if the file is damaged, or with `outdated` if it is too old: WholeFileError if its checksum
    fits; NewerError if a newer ulmo wrote the file.
    """
    content = read_unlinked(path, MAX_JSON_BYTES) if content is None else content
    values, text = _parsed(content, path, remedy)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > newest:
        raise NewerError(
            f"{path} was written by a newer ulmo (schema {clipped(version)}): upgrade ulmo"
        )
    is_whole = sealed and is_sealed(content)
    refused = WholeFileError if is_whole else UserError
    if type(version) is int and 1 <= version < oldest:
        raise refused(f"{path} was written by an older ulmo (schema {version}): {outdated}")
    if sealed:
        if not is_whole:
            raise UserError(f"{path} is damaged (its checksum does not fit): {remedy}")
        del values["checksum"]
        text = json.dumps(values)
    del values  # those of a corpus take more memory than all that follows
    try:
        return settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        state = "is as it was written, but not as this ulmo writes it" if is_whole else "is damaged"
        raise refused(f"{path} {state} ({complaint(error)}): {remedy}") from None


def _parsed(content: bytes, path: Path, remedy: str) -> tuple[Any, str]:
    """The values of JSON, and their text for pydantic."""
    try:
        values = parsed_json(content)
        return values, json.dumps(values)
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON of ours: {remedy}") from None


def parsed_json(content: bytes) -> Any:
    """The values of JSON of ours. Raises ValueError or RecursionError for any other.

    Brackets and commas are counted first: a megabyte of brackets alone takes a hundred megabytes to
    parse. Those in texts do not count: names may have any.
    """
    if _has_many_values(content) and _has_many_values(_TEXT.sub(b"", content), len(content)):
        raise ValueError("it has too many brackets or values")
    return json.loads(content.decode("utf-8"), object_pairs_hook=_unique)


def _has_many_values(content: bytes, size: int | None = None) -> bool:
    """Whether there are more values than ulmo writes in JSON of `size` bytes (None: as many)."""
    size = len(content) if size is None else size
    brackets = content.count(b"{") + content.count(b"[")
    is_deep = brackets > _FREE_BRACKETS + size // 32
    return is_deep or content.count(b",") > _FREE_VALUES + size // 20


def seal(text: str) -> bytes:
    """JSON of an object, indented by 2, with a checksum of all bytes before it as the last key."""
    head = text.removesuffix("\n}").encode()
    digest = hashlib.sha256(head).hexdigest()
    return head + f',\n  "checksum": "{digest}"\n}}\n'.encode()


def is_sealed(content: bytes) -> bool:
    """Whether a sealed file is as it was written: no byte was changed, added or lost."""
    found = _SEAL.fullmatch(content, max(len(content) - _SEAL_BYTES, 0))
    digest = hashlib.sha256(content[:-_SEAL_BYTES]).hexdigest()
    return found is not None and found["hash"].decode() == digest


def sealed_values(content: bytes) -> dict[str, Any] | None:
    """The values of a sealed file that is as it was written, whatever they are; None for others."""
    if not is_sealed(content):
        return None
    try:
        values, _ = _parsed(content, Path(), "")
    except UserError:
        return {}
    return values if isinstance(values, dict) else {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a repeated key, which could be read in two ways.

    Also if there are more keys than in any object of ulmo.
    """
    if len(pairs) > _MOST_KEYS:
        raise ValueError("an object has too many keys")
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is repeated")
    return values


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and without white space, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint_of_all(values: Iterable[Any]) -> str:
    """The same of a list, which is not held."""
    running, between = hashlib.sha256(b"["), b""
    for value in values:
        running.update(between + canonical_json(value).encode())
        between = b","
    running.update(b"]")
    return running.hexdigest()


def json_values(value: Any) -> Any:
    """The same as JSON takes it, at any depth.

    Named tuples, settings and mappings become objects, paths text by `portable`, and numbers that
    are not finite None. All text is valid UTF-8.
    """
    if isinstance(value, Settings):
        return value.model_dump(mode="json")
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {whole_letters(str(name)): json_values(field) for name, field in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if isinstance(value, Path):
        return portable(value)
    if isinstance(value, str):
        return whole_letters(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Publish JSON that a person can read."""
    with publish(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_sealed(path: Path, settings: Settings) -> None:
    """Publish a manifest as JSON, with its checksum as the last key."""
    with publish(path) as file:
        file.write(seal(json.dumps(settings.model_dump(mode="json"), indent=2, allow_nan=False)))
