"""Checkpoints: what is kept, and what is read back when some of it is damaged."""

import pytest
import tensorflow as tf

from tests.pipelines.verifying import deny
from ulmo.config import UserError
from ulmo.pipelines.train.checkpoints import Checkpoints
from ulmo.storage.checkpoint_files import damaged_files, numbers, remove_others


@pytest.fixture
def saved(tmp_path):
    """Checkpoints 1 to 3 of a variable, of which two are kept."""
    value = tf.Variable(tf.zeros(100))
    checkpoints = Checkpoints(tmp_path / "ckpt", keep=2, value=value)
    for number in (1, 2, 3):
        value.assign(tf.fill(100, float(number)))
        checkpoints.save()
    value.assign(tf.zeros(100))
    return checkpoints, value, tmp_path / "ckpt"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_latest_are_kept_and_nothing_else(saved):
    checkpoints, value, folder = saved
    assert checkpoints.numbers == [2, 3]
    assert names(folder) == [
        f"ckpt-{number}.{ending}"
        for number in (2, 3)
        for ending in ("data-00000-of-00001", "index", "json")
    ]
    assert checkpoints.restore() == []
    assert set(value.numpy()) == {3}


@pytest.mark.parametrize("ending", ["data-00000-of-00001", "index", "json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_a_damaged_one_is_named_and_passed_over(saved, ending, damage):
    checkpoints, value, folder = saved
    path = folder / f"ckpt-3.{ending}"
    content = bytearray(path.read_bytes())
    match damage:
        case "flip":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:-1])
        case "lose":
            path.unlink()
    if (ending, damage) == ("index", "lose"):
        assert checkpoints.restore() == []  # as if it had never been there
    else:
        assert checkpoints.restore() == damaged_files(folder, 3) == [path]
    assert set(value.numpy()) == {2}


def test_every_flipped_byte_is_told(saved):
    _, _, folder = saved
    assert damaged_files(folder, 3) == []
    for path in sorted(folder.glob("ckpt-3.*")):
        whole = path.read_bytes()
        for place in range(0, len(whole), 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert damaged_files(folder, 3) == [path], place
        path.write_bytes(whole)


def test_where_all_are_damaged_a_line_says_so(saved):
    checkpoints, _, folder = saved
    for path in folder.glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"ckpt-3\.index is damaged, and no checkpoint is whole"):
        checkpoints.restore()


def test_what_others_put_there_stays(saved):
    _, _, folder = saved
    for name in ("notes.txt", "ckpt-notes.txt", "ckpt-9.json.bak"):
        (folder / name).touch()
    remove_others(folder, [])
    assert names(folder) == ["ckpt-9.json.bak", "ckpt-notes.txt", "notes.txt"]
    assert numbers(folder) == []


def test_one_that_cannot_be_read_is_not_passed_over(saved, monkeypatch):
    """Going on from the one before would remove it."""
    checkpoints, _, folder = saved
    deny(monkeypatch, folder / "ckpt-3.index")
    with pytest.raises(UserError, match=r"ckpt-3\.index cannot be read .*change its permissions"):
        checkpoints.restore()
