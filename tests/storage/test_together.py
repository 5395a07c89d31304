"""What is asked of a store, several at a time: all of it, in its order, and little of it held."""

from threading import current_thread, main_thread

import pytest

from ulmo.storage import together as module
from ulmo.storage.together import each_together, together


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 4)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_all_come_in_their_order(count):
    assert together(str, range(count)) == [*map(str, range(count))]


def test_only_what_waits_is_asked_by_threads():
    def asked(number):
        return number, current_thread() is not main_thread()

    found = each_together(asked, range(30), lambda number: 10 <= number < 20)
    assert list(found) == [(number, 10 <= number < 20) for number in range(30)]


@pytest.mark.parametrize("waits", [True, False])
def test_few_are_held_and_the_first_error_ends_it(waits):
    begun = []

    def asked(number):
        begun.append(number)
        if number == 6:
            raise OSError(f"{number}")
        return number

    found = each_together(asked, range(100), lambda _: waits)
    assert [next(found) for _ in range(6)] == [*range(6)]
    with pytest.raises(OSError, match="6"):
        next(found)
    assert max(begun) < 8
    assert list(found) == []
