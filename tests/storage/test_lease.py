"""Leases of outputs in a store: one job takes one that ran out."""

import json

import pytest

from tests.stores import expired, open_store
from ulmo.storage import lease
from ulmo.storage.lock import LockError


def test_two_jobs_that_read_one_expired_lease(monkeypatch):
    """One of them takes it, whichever is later by less than the wait."""
    monkeypatch.setattr(lease, "_SETTLE_SECONDS", 0.0)
    out = open_store("memory").at("expired")
    first, second = lease.Lease(out, "1" * 32), lease.Lease(out, "2" * 32)
    expired(out)
    reads = []

    def read(self, whole=lease.Lease._read):
        if self is second:
            reads.append(1)
            if len(reads) == 2:  # the other one was faster
                first._take()
        return whole(self)

    with monkeypatch.context() as patch:
        patch.setattr(lease.Lease, "_read", read)
        with pytest.raises(LockError, match="is being written by another job"):
            second._take()
    first._check_ours()
    expired(out)

    def sleep(_):  # meanwhile, the other one does what it had decided to do
        second._remove()
        second._put(mode="create")

    monkeypatch.setattr(lease.time, "sleep", sleep)
    with pytest.raises(LockError, match="is being written by another job"):
        first._take()
    second._check_ours()


@pytest.mark.parametrize(
    ("name", "value"), [("until", 1e300), ("until", 2.0**40), ("until", -1), ("pid", 10**400)]
)
def test_a_lease_with_odd_numbers_is_none(name, value):
    out = open_store("memory").at("odd")
    whole = {"owner": "x", "host": "h", "pid": 1, "since": "2026-01-01T00:00:00Z", "until": 1e10}
    system, place = (out / lease.LEASE).store()
    system.pipe_file(place, json.dumps(whole).encode())
    with pytest.raises(LockError, match="is being written by another job"):
        lease.Lease(out, "1" * 32)._take()
    system.pipe_file(place, json.dumps({**whole, name: value}).encode())
    with pytest.raises(LockError, match="and is no lease of ulmo: remove it"):
        lease.Lease(out, "1" * 32)._take()
