"""Who leads and who follows by TF_CONFIG, and what is refused. A run: test_train_stopped.py."""

import json
import socket
from threading import Thread

import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.commands import assert_refused
from ulmo.cli.main import ulmo as command
from ulmo.config import JobError, UserError
from ulmo.pipelines import hosts as hosts_module
from ulmo.pipelines.hosts import Hosts, means_lost, note_shared, told_if_lost, use_devices

TWO = ["a:1", "b:2"]
UNDERSTOOD = [  # TF_CONFIG, and the addresses and the place
    (None, (), 0),
    ("{}", (), 0),
    ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}', (), 0),
    ({"worker": TWO}, ("a:1", "b:2"), 0),
    ({"worker": TWO, "chief": ["[::1]:3"]}, ("[::1]:3", "a:1", "b:2"), 1),
]
NOT_UNDERSTOOD = [
    "{", "[]", "7", '{"cluster": []}', '"a:1"',
    {"worker": ["a", "b:2"]}, {"worker": ["a:0", "b:2"]}, {"worker": [":1", "b:2"]},
    {"chief": TWO}, {"worker": 7},
    json.dumps({"cluster": {"worker": TWO}}),
    json.dumps({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 2}}),
]  # fmt: skip


@pytest.fixture
def config(monkeypatch):
    """A function that sets TF_CONFIG: a text, or the cluster, in which this is the first worker."""

    def put(value):
        if isinstance(value, dict):
            value = json.dumps({"cluster": value, "task": {"type": "worker", "index": 0}})
        if value is None:
            monkeypatch.delenv("TF_CONFIG", raising=False)
        else:
            monkeypatch.setenv("TF_CONFIG", value)

    return put


@pytest.mark.parametrize(("value", "addresses", "place"), UNDERSTOOD)
def test_the_chief_or_the_first_worker_leads(value, addresses, place, config):
    config(value)
    assert Hosts.here() == (addresses, place)


@pytest.mark.parametrize("value", NOT_UNDERSTOOD, ids=str)
def test_what_is_not_understood_is_refused(value, config, tmp_path):
    config(value)
    for words in (("train",), ("lm", "train")):
        done = CliRunner().invoke(command, [*words, str(tmp_path), str(tmp_path / "run")])
        assert_refused(done, 'TF_CONFIG is not as {"cluster":', "correct it, or unset it")


def test_other_tasks_are_refused(config):
    config({"worker": TWO, "ps": ["c:1"]})
    with pytest.raises(UserError, match="tasks that ulmo does not know: ps"):
        Hosts.here()


def test_a_leader_waits_for_its_followers(monkeypatch):
    monkeypatch.setattr(hosts_module, "_POLL_SECONDS", 0.01)
    notes = []
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"

        def note(text):
            notes.append(text)
            Thread(target=reserved.listen).start()

        Hosts((address, address)).lead(note)
    assert notes == [f"waiting for {address} ..."]
    with pytest.raises(UserError, match=f"says that {address} trains, and not this host"):
        Hosts((address, address), 1).lead(note)


def test_a_follower_ends_when_its_leader_has_been_gone(monkeypatch):
    monkeypatch.setattr(hosts_module, "_GONE_SECONDS", 0.05)
    monkeypatch.setattr(hosts_module, "_POLL_SECONDS", 0.01)
    asked = []
    monkeypatch.setattr(tf.distribute, "Server", lambda *asking, **_: asked.append(asking))
    notes = []
    reached = iter([True] * 3)
    monkeypatch.setattr(hosts_module, "_is_reached", lambda _: next(reached, False))
    Hosts(("a:1", "b:2"), 1).follow(notes.append, devices=1, threads=0)
    assert notes == ["computing for a:1 at b:2", "a:1 has ended"]
    ((cluster, job, place),) = asked
    assert (cluster.as_dict(), job, place) == ({"worker": TWO}, "worker", 1)


def test_devices_that_are_not_there_are_refused(monkeypatch, config):
    config(None)
    assert use_devices(1) == ()
    there = len(tf.config.list_logical_devices("CPU"))  # from now on they cannot change
    with pytest.raises(UserError, match="TensorFlow is running already: its devices cannot change"):
        use_devices(there + 1)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    with pytest.raises(UserError, match=r"this host has 0 of 2 GPUs: set fewer devices"):
        use_devices(2)


def test_devices_that_share_the_work_are_counted(config):
    notes = []
    config(None)
    note_shared((), notes.append)
    note_shared(("/device:CPU:0", "/device:CPU:1"), notes.append)
    config({"worker": TWO})
    note_shared([f"/task:{place}/device:GPU:0" for place in (0, 1)], notes.append)
    assert notes == [
        "2 parts of the CPU share the rows of each batch",
        "2 GPUs of 2 hosts share the rows of each batch",
    ]


def test_a_host_that_is_lost_is_named_and_other_errors_pass(config):
    lost, other = (
        kind(None, None, "socket closed")
        for kind in (tf.errors.UnavailableError, tf.errors.InvalidArgumentError)
    )
    config(None)
    assert not means_lost(lost)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        config({"worker": ["127.0.0.1:1", address]})
        said = f"^{address} was lost: start ulmo there again, and go on with ulmo train$"
        with pytest.raises(JobError, match=said), told_if_lost("ulmo train"):
            raise lost
        with pytest.raises(tf.errors.InvalidArgumentError), told_if_lost("ulmo train"):
            raise other
