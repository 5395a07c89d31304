"""Which files may be removed: the hash that is recorded of a file has the last word."""

import os

import pytest

from ulmo.config import WholeFileError
from ulmo.storage.faults import Fault, fault_of, name_in, remove_faulty


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    return place


@pytest.mark.parametrize("name", [b"x", b"\xe9", rb"\x41", b"\\\xe9", b"cr\r\n"])
def test_a_fault_leads_to_its_file_whatever_its_name(name, folder):
    path = folder / os.fsdecode(name)
    path.touch()
    fault = Fault(name_in(path, folder), "damaged", "", "")
    assert remove_faulty(folder, [fault], lambda _: True, lambda _: False)
    assert not path.exists()


def test_a_whole_file_stays_whatever_a_fault_says(folder):
    path = folder / "x"
    path.touch()
    fault = Fault("x", "damaged", "its reader says so", "")

    def denied(_):
        raise PermissionError(13, "Permission denied")

    for is_whole in (lambda _: True, denied):
        assert remove_faulty(folder, [fault], lambda _: True, is_whole) == []
        assert path.exists()


def test_a_file_that_has_its_hash_is_never_called_damaged():
    assert fault_of("x", WholeFileError("x is as it was written: go on"), "go on").what == (
        "unreadable"
    )
