"""Stores that tests put recordings into: the memory of this process, and a real S3 server."""

import os
import threading
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

from ulmo.storage import lease
from ulmo.storage.remote_path import RemotePath, remote_path

BUCKET = "recordings"


class Store(NamedTuple):
    """A store, and where tests write in it."""

    protocol: str
    system: Any  # of fsspec

    def at(self, name: str) -> RemotePath:
        """The path of a name."""
        return remote_path(f"{self.protocol}://{BUCKET}/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Put an object."""
        self.system.pipe_file(f"{BUCKET}/{name}", content)

    def put_folder(self, folder, name: str) -> RemotePath:
        """Put a folder, and give its files the times that the objects have."""
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            below = path.relative_to(folder)
            self.put(f"{name}/{below}", path.read_bytes())
            time = (self.at(name) / below).stat().st_mtime_ns
            os.utime(path, ns=(time, time))
        return self.at(name)

    def contents(self, name: str) -> dict[str, bytes]:
        """Every object below a name, and its bytes: as `recordings.contents` of a folder."""
        self.system.invalidate_cache()
        top = f"{BUCKET}/{name}/"
        found = self.system.find(top)
        return {each.lstrip("/").removeprefix(top): self.system.cat_file(each) for each in found}

    def remove(self, name: str) -> None:
        """Remove an object."""
        self.system.rm_file(f"{BUCKET}/{name}")


@contextmanager
def s3_server():
    """The settings of the environment that lead to an S3 server of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            yield settings
        finally:
            server.stop()


@contextmanager
def s3_without_rights():
    """Let the S3 server refuse every request: nobody has rights there."""
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
        yield


def open_store(protocol: str) -> Store:
    """An empty store; that of S3 needs a server."""
    system = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False)
    if protocol == "s3":
        system.mkdir(BUCKET)
    else:
        system.store.clear()
    return Store(protocol, system)


def expired(out):
    """The lease of a job that was killed long ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "LEASE_SECONDS", 0.0)
        lease.Lease(out, "0" * 32)._put()


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder. `no` in a name is not allowed; ranges are served if `ranges` says so."""

    ranges = True
    asked: tuple[str, ...] = ()

    def log_message(self, *_):
        pass

    def send_head(self):
        type(self).asked += (f"{self.command} {self.path}",)
        if "no.wav" in self.path:
            return self.send_error(403)
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not (wanted and self.ranges and path.is_file()):
            return super().send_head()
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        size = path.stat().st_size
        end = min(int(end), size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end - int(start) + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(int(start))
            self.wfile.write(file.read(end - int(start) + 1))


@contextmanager
def web_server(folder, *, ranges=True):
    """A web server for the files of a folder: its address, and what it was asked."""
    handler = type("Handler", (_Handler,), {"ranges": ranges})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", lambda: handler.asked
        finally:
            server.shutdown()
            thread.join()


class _BareHandler(BaseHTTPRequestHandler):
    """What the server has as its content, without a version of it."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        if self.server.with_size:
            self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        with suppress(OSError):  # it may be told no more
            self.wfile.write(self.server.content)


@contextmanager
def bare_server(*, with_size):
    """A web server that tells no version, and perhaps no size: its address, and itself."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _BareHandler) as server:
        server.with_size, server.content = with_size, b""
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server
        finally:
            server.shutdown()
            thread.join()
