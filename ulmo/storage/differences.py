"""How two sets of settings differ, as text for an error message."""

from collections.abc import Container, Mapping
from typing import Any

_SHOWN_CHARACTERS = 80


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], *, may_differ: Container[str] = ()
) -> str:
    """Settings with different values, as "hop_length there 160, here 320"; empty if none differs.

    `there` are the settings of an output that exists, `here` those given now. Names in `may_differ`
    are not compared. One that only one of them has is left out of the other at its default.
    """
    return ", ".join(
        f"{name} there {_shown(there, name)}, here {_shown(here, name)}"
        for name in {**there, **here}
        if name not in may_differ and there.get(name) != here.get(name)
    )


def _shown(settings: Mapping[str, Any], name: str) -> str:
    """The value as Python writes it; a fingerprint is cut to its first characters."""
    if name not in settings:
        return "left out"
    value = settings[name]
    is_hash = isinstance(value, str) and len(value) == 64
    return repr(value[:8] if is_hash else value)[:_SHOWN_CHARACTERS]
