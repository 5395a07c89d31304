"""Addresses as s3://bucket/a.wav: what is shown of them, and what is secret in them.

What stands before @ and has a colon, and what stands behind ? at a web server, is a secret: no
message and no table has it. It is kept here, by what is shown of the address, and goes to worker
processes with each path (RemotePath.__reduce__).
"""

import re
from collections.abc import Mapping

from ulmo.config import UserError, printable

MARK = "\0"  # no path of this computer has one
WEB = ("http", "https")
ARCHIVES = ("zip", "tar", "libarchive")  # names in them may look like user:password@

_secrets: dict[str, str] = {}  # what was given in an address, by what is shown of it


def keep_secret(address: str) -> str:
    """Keep what is secret in an address; returns what is shown of it.

    UserError if another address is shown so: the two could not be told apart.
    """
    shown = "::".join(_shown(each) for each in address.split("::"))
    if _secrets.get(shown, address) != address:
        raise UserError(
            f"{printable(shown)} is given twice, with other things behind ? or before @: name one"
        )
    if shown != address:
        _secrets[shown] = address
        _secrets[store_of(shown)] = store_of(address)
    return shown


def secrets_of(shown: str) -> dict[str, str]:
    """What a process must know to reach an address."""
    return {name: _secrets[name] for name in (store_of(shown), shown) if name in _secrets}


def learn_secrets(known: Mapping[str, str]) -> None:
    """Know what another process has told."""
    _secrets.update(known)


def _shown(address: str) -> str:
    """An address without what is secret in it."""
    protocol, mark, names = address.partition("://")
    if not mark:
        return address
    if protocol in WEB:
        names = re.split(r"[?#]", names, maxsplit=1)[0]
    return protocol + mark + (names if protocol in ARCHIVES else _without_login(names))


def _without_login(names: str) -> str:
    """Names without the first user:password@ among them."""
    parts = names.split("@")
    for number, part in enumerate(parts[:-1]):
        before, slash, login = part.rpartition("/")
        if ":" in login:
            rest = "@".join(parts[number + 1 :])
            return "@".join([*parts[:number], before + slash + rest])
    return names


def whole(shown: str) -> str:
    """The address of what is shown of it."""
    if shown in _secrets:
        return _secrets[shown]
    store = store_of(shown)
    if store not in _secrets:
        return shown
    first, mark, _ = shown.partition("::")
    begins, own, outside = store.partition("::")[0], *_secrets[store].partition("::")[::2]
    return own + first.removeprefix(begins) + mark + outside


def store_of(address: str) -> str:
    """What an address begins with: s3://bucket; zip://::s3://b/x.zip of a file in an archive."""
    first, mark, outer = address.partition("::")
    protocol, _, names = first.partition("://")
    host = "" if protocol in ARCHIVES else re.split(r"[/?#]", names, maxsplit=1)[0]
    return f"{protocol}://{host}{mark}{outer}"


def part_of(name: str) -> str:
    """A name as a part of a path: one that cannot be a part is spelled as an address would be."""
    if name in ("", ".", ".."):
        return f"%{name.encode().hex()}"
    return name.replace(MARK, "%00")
