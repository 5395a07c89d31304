"""Several hosts and devices: one host trains, and all devices compute some rows of each batch.

TF_CONFIG -> addresses of the hosts -> the first one leads, the others follow -> names of devices

The leader alone reads data, holds the weights and writes files. A follower runs TensorFlow's
server, and needs nothing but ulmo with TensorFlow.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ulmo.config import JobError, UserError, require
from ulmo.pipelines.loading import loading_tensorflow, use_threads

_JOB = "worker"  # of all hosts, as TensorFlow names their devices
_POLL_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_GONE_SECONDS = 60.0  # how long a follower waits for a leader that is gone: it may be resumed


class Hosts(NamedTuple):
    """The hosts of a training."""

    addresses: tuple[str, ...] = ()  # HOST:PORT, the leader's first; () without TF_CONFIG
    place: int = 0  # of this host

    @classmethod
    def here(cls) -> "Hosts":
        """Read TF_CONFIG; a cluster of one host is none. UserError if it is not understood.

        The leader is the task `chief`, or the first `worker` if there is none.
        """
        text = os.environ.get("TF_CONFIG") or "{}"
        try:
            found = json.loads(text)
            cluster, task = found.get("cluster", {}), found.get("task", {})
            if others := sorted(cluster.keys() - {"chief", "worker"}):
                raise UserError(f"TF_CONFIG has tasks that ulmo does not know: {others[0]}")
            tasks = [
                (kind, number, str(address))
                for kind in ("chief", "worker")
                for number, address in enumerate(cluster.get(kind, ()))
            ]
            if len(tasks) < 2:
                return cls()
            place = [each[:2] for each in tasks].index((task["type"], int(task["index"])))
            addresses = tuple(address for *_, address in tasks)
            for address in addresses:
                _parsed(address)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                'TF_CONFIG is not as {"cluster": {"worker": ["HOST:PORT", ...]}, '
                '"task": {"type": "worker", "index": 0}}: correct it, or unset it'
            ) from None
        return cls(addresses, place)

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return len(self.addresses) > 1

    def lead(self, note: Callable[[str], None]) -> None:
        """Wait until all followers can be reached. UserError if this host does not lead."""
        if self.place:
            raise UserError(f"TF_CONFIG says that {self.addresses[0]} trains, and not this host")
        for address in self.addresses[1:]:
            _wait_for(address, note)

    def follow(self, note: Callable[[str], None], *, devices: int, threads: int) -> None:
        """Compute what the leader sends, until it has been gone for a minute.

        devices: parts of the CPU to offer; GPUs are all offered. threads: of TensorFlow; 0: all.
        """
        require("tensorflow", "keras")
        with loading_tensorflow():
            import tensorflow as tf
        if threads:
            use_threads(threads)
        config = tf.compat.v1.ConfigProto(
            device_count={"CPU": devices},
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=threads,
        )
        server = tf.distribute.Server(  # which ends with this name
            tf.train.ClusterSpec({_JOB: self.addresses}), _JOB, self.place, config=config
        )
        note(f"computing for {self.addresses[0]} at {self.addresses[self.place]}")
        _wait_for(self.addresses[0], note)
        seen = time.monotonic()
        while time.monotonic() - seen < _GONE_SECONDS:
            if _is_reached(self.addresses[0]):
                seen = time.monotonic()
            time.sleep(_POLL_SECONDS)
        note(f"{self.addresses[0]} has ended")
        del server


def use_devices(count: int) -> tuple[str, ...]:
    """Names of the devices that share the rows of a batch, `count` on each host; () if one alone.

    GPUs, if there are any; else parts of the CPU, which share its threads. UserError if there are
    fewer, or if TensorFlow runs already with fewer.
    """
    hosts = Hosts.here()
    if count == 1 and not hosts.several:
        return ()
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        with suppress(RuntimeError):  # it is running already, perhaps with enough parts
            tf.config.set_logical_device_configuration(processor, parts)
    if hosts.several:
        cluster = tf.train.ClusterSpec({_JOB: hosts.addresses})
        tf.config.experimental_connect_to_cluster(cluster, _JOB, hosts.place, protocol="grpc")
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    chosen: list[str] = []
    for place, address in enumerate(hosts.addresses or ("this host",)):
        own = [name for name in found if not hosts.several or f"/task:{place}/" in name]
        if len(own) < count and kind == "CPU" and not hosts.several:
            raise UserError("TensorFlow is running already: its devices cannot change")
        if len(own) < count:
            raise UserError(f"{address} has {len(own)} of {count} {kind}s: set fewer devices")
        chosen += own[:count]
    return tuple(chosen)


def note_shared(devices: Sequence[str], note: Callable[[str], None]) -> None:
    """Note how many devices, of these names, share the rows of each batch; nothing of one alone."""
    if len(devices) < 2:
        return
    kind = "GPUs" if any(":GPU:" in name for name in devices) else "parts of the CPU"
    hosts = len(Hosts.here().addresses)
    where = f" of {hosts} hosts" if hosts > 1 else ""
    note(f"{len(devices)} {kind}{where} share the rows of each batch")


@contextmanager
def told_if_lost(resume: str) -> Iterator[None]:
    """JobError if a host is lost in the middle of a training, with the command that resumes it."""
    try:
        yield
    except Exception as error:  # of TensorFlow, which may not be imported
        if not means_lost(error):
            raise
        followers = Hosts.here().addresses[1:]
        lost = [address for address in followers if not _is_reached(address)]
        named = " and ".join(lost) or "one of the hosts"
        remedy = f"start ulmo there again, and go on with {resume}"
        raise JobError(f"{named} was lost: {remedy}") from None


def means_lost(error: Exception) -> bool:
    """Whether an error of TensorFlow means that another host has ended, or was started again."""
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is None or not Hosts.here().several:
        return False
    errors = tensorflow.errors
    kinds = (errors.UnavailableError, errors.AbortedError, errors.CancelledError)
    return isinstance(error, kinds) or "context_id" in str(error)


def _wait_for(address: str, note: Callable[[str], None]) -> None:
    if _is_reached(address):
        return
    note(f"waiting for {address} ...")
    while not _is_reached(address):
        time.sleep(_POLL_SECONDS)


def _is_reached(address: str) -> bool:
    """Whether something listens there."""
    with suppress(OSError), socket.create_connection(_parsed(address), _TIMEOUT_SECONDS):
        return True
    return False


def _parsed(address: str) -> tuple[str, int]:
    """Host and port; ValueError if it is not HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and 0 < int(port) < 65_536):
        raise ValueError(address)
    return host.strip("[]"), int(port)
