"""How two sets of settings differ, as text for an error message."""

from collections.abc import Container, Mapping
from typing import Any

_SHOWN_CHARACTERS = 80


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], *, may_differ: Container[str] = ()
) -> str:
    """Settings with different values, as "hop_length there 160, here 320"; empty if none differs.

    `there` are the settings of an output that exists, `here` those given now. Both have the same
    names; names in `may_differ` are not compared.
    """
    return ", ".join(
        f"{name} there {_shown(value)}, here {_shown(here[name])}"
        for name, value in there.items()
        if name not in may_differ and value != here[name]
    )


def _shown(value: Any) -> str:
    """The value as Python writes it; a fingerprint is cut to its first characters."""
    is_hash = isinstance(value, str) and len(value) == 64
    return repr(value[:8] if is_hash else value)[:_SHOWN_CHARACTERS]
