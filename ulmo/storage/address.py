"""Addresses as s3://bucket/a.wav: what is shown of them, and what is secret in them.

What stands before @ in front of a host, and what stands behind ? at a web server, is a secret: no
message and no table has it. It is kept here, by what is shown of the address, and goes to worker
processes with each path (RemotePath.__reduce__).
"""

import re
from collections.abc import Mapping

from ulmo.config import UserError, printable

MARK = "\0"  # no path of this computer has one
WEB = ("http", "https")
ARCHIVES = ("zip", "tar", "libarchive")  # names in them may look like user:password@

# A host as it may be in front of a path that has an @: another is a part of a login, cut by its /.
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d*)?|arn:aws.*")

_secrets: dict[str, str] = {}  # what was given in an address, by what is shown of it
Secret = tuple[tuple[str, str], ...]  # login, and what is behind ?, of each address in one


def keep_secret(address: str) -> str:
    """Keep what is secret in an address; returns what is shown of it.

    Of two addresses that are shown alike, the later one is used: it may have a new signature.
    UserError for an address that does not tell where its login ends.
    """
    shown = "::".join(_divided(each)[0] for each in address.split("::"))
    if shown != address:
        _secrets[shown] = address
        _secrets[store_of(shown)] = store_of(address)
    else:
        _secrets.pop(shown, None)
    return shown


def secret_of(address: str) -> Secret:
    """What is secret in an address, to compare it."""
    return tuple(_divided(each)[1:] for each in address.split("::"))


def secrets_of(shown: str) -> dict[str, str]:
    """What a process must know to reach an address."""
    return {name: _secrets[name] for name in (store_of(shown), shown) if name in _secrets}


def learn_secrets(known: Mapping[str, str]) -> None:
    """Take over what another process knows."""
    _secrets.update(known)


def _divided(address: str) -> tuple[str, str, str]:
    """What is shown of an address, its login, and what is behind ? or # at a web server."""
    protocol, mark, names = address.partition("://")
    if not mark or protocol in ARCHIVES:
        return address, "", ""
    before = _host(protocol, names)
    behind = names[len(before) :]
    login, at, host = before.rpartition("@")
    if "@" in behind and not _HOST.fullmatch(host):
        raise UserError(
            f"{printable(protocol)}://… has a login with a character that ends it: "
            "write %2F for /, %3F for ? and %23 for # in it"
        )
    path = re.split(r"[?#]", behind, maxsplit=1)[0] if protocol in WEB else behind
    return f"{protocol}://{host}{path}", login + at, behind[len(path) :]


def _host(protocol: str, names: str) -> str:
    """The host, or bucket, that names begin with, and the login before it."""
    if protocol in ARCHIVES:
        return ""
    if protocol in WEB:
        return re.split(r"[/?#]", names, maxsplit=1)[0]
    return names.partition("/")[0]


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
    return f"{protocol}://{_host(protocol, names)}{mark}{outer}"


def part_of(name: str) -> str:
    """A name as a part of a path: one that cannot be a part is spelled as an address would be."""
    if name in ("", ".", ".."):
        return f"%{name.encode().hex()}"
    return name.replace(MARK, "%00")
