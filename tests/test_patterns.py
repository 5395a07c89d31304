"""Every regular expression of ulmo takes time in proportion to the text: foreign text goes in."""

import ast
import importlib
import re
import time
from pathlib import Path

import pytest

import ulmo
from ulmo.preprocessing.times.names import NAME_PATTERNS
from ulmo.preprocessing.times.timestamps import EDGE, parse_pattern

ROOT = Path(ulmo.__file__).parent
METHODS = ("match", "fullmatch", "search", "finditer")
USES = {"sub": "finditer", "findall": "finditer", "split": "finditer", "subn": "finditer"}
LENGTH = 4000
CHARACTERS = " \t\n0a A.Tz-_\"'\\(:;,%+=/x\0\xff"
SLOW = 0.0005  # seconds: ten times as long as most take
MOST = 24  # times as long for a text of eight times the length; 8 is linear, 64 is quadratic


def trees():
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        # Training loads TensorFlow: its one pattern is of settings that were checked.
        if re.search(r"^import re$", text, re.M) and path.parent != ROOT / "pipelines/train":
            yield path, ast.parse(text)


def patterns_in(value):
    """The patterns that a value holds."""
    if isinstance(value, re.Pattern):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list, set, frozenset)):
        return []
    return [each for each in value if isinstance(each, re.Pattern)]


def calls(tree):
    """The calls re.match(...) and the like, with the texts of their patterns, if they are plain."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "re" and node.args:
                first = node.args[0]
                yield node.func.attr, first.value if isinstance(first, ast.Constant) else None


def all_patterns():
    """Each pattern of ulmo, its place, and how it is used."""
    found, used = [], {}
    for path, tree in trees():
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for key, value in vars(importlib.import_module(name)).items():
            found += [(f"{name}.{key}", each, key) for each in patterns_in(value)]
        for method, text in calls(tree):
            if text is not None and method != "compile":
                found.append((f"{name}: {text}", re.compile(text), method))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.setdefault(node.value.id, set()).add(node.attr)
    for pattern in NAME_PATTERNS:
        found.append((pattern.name, re.compile(f"{EDGE}{pattern.regex}{EDGE}", re.ASCII), "search"))
    found.append(("a user's", parse_pattern("REC_%y%b%d-%I%M%S%f %p %z"), "search"))
    for place, pattern, key in found:
        names = {key} | used.get(key, set())
        methods = {USES.get(name, name) for name in names} & set(METHODS)
        yield place, pattern, sorted(methods or METHODS)


def words(pattern):
    """Single characters, and the words and signs that stand in a pattern."""
    source = pattern.pattern
    source = source if isinstance(source, str) else source.decode("latin")
    found = re.findall(r"\\.|[A-Za-z]+|\d+|.", source)
    return {word[1:] if word[0] == "\\" else word for word in found} | set(CHARACTERS)


def texts(pattern, length):
    """Texts of a length that repeat a word, with a begin, and an end that fits nothing."""
    repeated = sorted(words(pattern))
    begins = sorted(repeated, key=len)[-4:]
    for word in repeated:
        for begin in ("", *(each for each in begins if len(each) > 1), "1", '"', "."):
            text = (begin + word * (length // len(word)))[: length - 2] + "\0!"
            yield text if isinstance(pattern.pattern, str) else text.encode("latin")


def seconds(pattern, method, text):
    """The processor's time for a text."""
    begin = time.process_time()
    found = getattr(pattern, method)(text)
    if method == "finditer":
        for _ in found:
            pass
    return time.process_time() - begin


def is_linear(pattern, method):
    """Whether no text takes out of all proportion longer than a shorter one of its kind."""
    for number, text in enumerate(texts(pattern, LENGTH)):
        if seconds(pattern, method, text) < SLOW:
            continue
        short = [each for count, each in enumerate(texts(pattern, LENGTH // 8)) if count == number]
        least = min(seconds(pattern, method, short[0]) for _ in range(5))
        most = min(seconds(pattern, method, text) for _ in range(3))
        if most > SLOW and most > MOST * least:
            return False
    return True


def test_patterns_take_time_in_proportion_to_the_text():
    tried = list(all_patterns())
    assert len(tried) > 60
    slow = [
        f"{place}: {method}"
        for place, pattern, methods in tried
        for method in methods
        if not is_linear(pattern, method)
    ]
    assert not slow


def test_no_pattern_is_made_where_the_test_above_cannot_see_it():
    hidden = [
        (path.relative_to(ROOT).as_posix(), method)
        for path, tree in trees()
        for method, text in calls(tree)
        if text is None and method not in ("compile", "escape")
    ]
    # Their patterns are ulmo's own and of fixed length, but for the names of options.
    assert sorted(hidden) == [
        ("cli/exits.py", "sub"),
        ("preprocessing/reading/containers.py", "match"),
        ("preprocessing/times/zones.py", "match"),
    ]


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"\s*(-?\d{1,15})\s*(?:us)?\s*", "fullmatch"),
        (r"AudioMoth.*(?:threshold|trigger) ", "search"),
        (r"\s*=", "search"),
    ],
)
def test_the_test_finds_patterns_that_take_longer(pattern, method):
    assert not is_linear(re.compile(pattern, re.DOTALL), method)
