"""The page itself: HTML, style and scripts of `page/`, and the payload, as one file.

A browser runs nothing else in it: the Content Security Policy names the hashes of the one style
and the one script, and allows no connection. The payload is JSON without any letter of HTML.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

BEGIN = b'<!doctype html>\n<html lang="en" data-ulmo="look">\n'
"""The first bytes of each page: a file without them is another program's."""
SCRIPTS = (  # in the order in which they are joined
    *("text.js", "payload.js", "levels.js", "axis.js", "player.js", "stack.js"),
    *("spectrogram.js", "tokens.js", "surprise.js", "lanes.js", "codes.js", "decoded.js"),
    *("selection.js", "find.js", "saving.js", "keys.js", "main.js"),
)
_POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; "
    "base-uri 'none'; form-action 'none'"
)
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def make_page(title: str, payload: Mapping[str, Any]) -> bytes:
    """The page of a recording: UTF-8, the same bytes for the same payload."""
    style = _text("page.css")
    scripts = "\n".join(f"// {name}\n{_text(name)}" for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}}})();\n'
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    parts = {
        "policy": policy,
        "title": _escaped(title),
        "style": style,
        "script": script,
        "payload": as_json(payload),
    }
    page = _text("page.html")
    found = []
    for piece in page.split("{{"):
        name, mark, rest = piece.partition("}}")
        found += [parts[name], rest] if mark else [piece]
    content = "".join(found).encode("utf-8", "replace")
    return BEGIN + content.removeprefix(BEGIN)


def make_index(names: Sequence[str]) -> bytes:
    """The page that lists recordings, where pages are served; links are their numbers."""
    listed = "".join(
        f'<li><a href="{number}/0">{_escaped(name)}</a></li>\n' for number, name in enumerate(names)
    )
    count = "1 recording" if len(names) == 1 else f"{len(names)} recordings"
    words = "Each is listened to when you open it: a minute of sound takes about a second."
    return _plain_page("Recordings", f"<p>{count}. {words}</p>\n<ol>\n{listed}</ol>")


def make_trouble(name: str, words: str) -> bytes:
    """The page of a recording that cannot be shown."""
    return _plain_page(name, f'<p>{_escaped(words)}</p>\n<p><a href="../">All recordings</a></p>')


def _plain_page(title: str, content: str) -> bytes:
    """A page without a script."""
    style = _text("page.css")
    policy = _POLICY.format(script=_hash(""), style=_hash(style))
    return (
        BEGIN.decode() + f'<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)} - ulmo look</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{_escaped(title)}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")


def as_json(payload: Mapping[str, Any]) -> str:
    """JSON in which no letter has a meaning in HTML, whatever a recording is called.

    >>> as_json({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.translate(_ESCAPES)


def as_base64(content: bytes) -> str:
    """Bytes as text, four letters for three of them."""
    return base64.b64encode(content).decode("ascii")


def _text(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{as_base64(sha256(text.encode()).digest())}"


def _escaped(text: str) -> str:
    for letter, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = text.replace(letter, f"&{name};")
    return text
