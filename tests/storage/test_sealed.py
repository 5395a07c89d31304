"""One reader for every JSON file of ours."""

import pytest

from ulmo.config import Settings, UserError
from ulmo.storage import sealed as strict_json
from ulmo.storage.sealed import read_json


class Card(Settings):
    """A file to read."""

    schema_version: int = 1
    name: str


def read(tmp_path, content):
    path = tmp_path / "card.json"
    path.write_bytes(content)
    return read_json(path, Card, newest=1, remedy="write it again")


def test_what_is_ours_is_read(tmp_path):
    assert read(tmp_path, b'{"name": "a", "schema_version": 1}') == Card(name="a")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON of ours: write it again"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"name": "a", "name": "b"}', "is not JSON"),
        (b'{"name": "a", "x": {"y": 1, "y": 1}}', "is not JSON"),
        (b'{"name": "a", "other": 1}', "is damaged .*unknown setting 'other'.*write it again"),
        (b'{"name": 3}', "is damaged .*name = 3"),
        (b"[]", "is damaged"),
        (b"{}", "is damaged .*name"),
        (b'{"schema_version": 2}', r"newer ulmo \(schema 2\): upgrade"),
    ],
)
def test_what_is_not_is_refused_in_one_line(tmp_path, content, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert "card.json" in str(caught.value)


def test_what_is_too_large_is_not_even_opened(tmp_path, monkeypatch):
    content = b'{"name": "a"}'
    monkeypatch.setattr(strict_json, "MAX_JSON_BYTES", len(content))
    assert read(tmp_path, content).name == "a"
    monkeypatch.setattr(strict_json, "MAX_JSON_BYTES", len(content) - 1)
    with pytest.raises(UserError, match="too large to be ours"):
        read(tmp_path, content)
