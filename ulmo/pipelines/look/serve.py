"""ulmo look --serve: an index of recordings and their pages, for a browser on this computer alone.

    GET /TOKEN/          the index
    GET /TOKEN/3/0       the first part of recording 3, which is heard when it is asked for

Addresses have numbers and never paths, so no request can name another file. Who does not know the
token, which is drawn anew each time, gets nothing, and so does a page of another origin.
"""

import hmac
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple

from ulmo.config import JobError, UserError, printable
from ulmo.jobs.inputs import Found
from ulmo.jobs.spread import HERE
from ulmo.listening.recordings import Sources
from ulmo.pipelines.look.html import make_index, make_page, make_trouble
from ulmo.pipelines.look.look import check_channel
from ulmo.pipelines.look.recording import HeardRecording, Length, LookSettings, hear_recording
from ulmo.pipelines.look.surprise import fitting_model
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.storage.names import portable

_HOST = "127.0.0.1"
_TOKEN_BYTES = 16
_MOST_REQUESTS = 16  # at once; a browser sends six
_TIMEOUT_S = 30.0  # of a connection without a request
_MOST_PAGES, _MOST_HEARD = 4, 2  # that are kept in memory: pages have up to 12 MB
_PLACE = re.compile(r"(?:(\d{1,7})/(\d{1,7}))?")
_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{0,12})|bytes=-(\d{1,12})")
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Accept-Ranges": "bytes",
}


class Answer(NamedTuple):
    """What a request gets."""

    status: HTTPStatus
    content: bytes = b""


class Pages:
    """The index and the pages of some recordings, made when they are asked for.

    folder: recordings that lie outside of it are left out; None: all are what the user named.
    """

    def __init__(
        self, sources: Sources, settings: LookSettings, folder: Path | None = None
    ) -> None:
        check_channel(sources.wanted.channels)
        if settings.surprise and settings.lm is not None:
            fitting_model(sources.tokenizer, settings.lm)
        self._sources, self._settings = sources, settings
        self._turn = Lock()  # one recording is heard at a time
        self.found: Sequence[Found] = [
            each for each in sources.found if folder is None or _lies_below(folder, each)
        ]
        self._heard = lru_cache(_MOST_HEARD)(self._hear)
        self._page = lru_cache(_MOST_PAGES)(self._make)

    def index(self) -> bytes:
        """The page that lists all recordings."""
        return make_index([portable(each.name) for each in self.found])

    def page(self, number: int, part: int) -> Answer:
        """The page of a part of a recording."""
        if number >= len(self.found):
            return Answer(HTTPStatus.NOT_FOUND)
        try:
            with self._turn:
                content = self._page(number, part)
        except RefusedError as refusal:
            return self._trouble(number, f"refused: {refusal.reason} ({refusal.detail})")
        except (UserError, JobError, OSError) as error:
            return self._trouble(number, str(error))
        return Answer(HTTPStatus.NOT_FOUND) if content is None else Answer(HTTPStatus.OK, content)

    def _trouble(self, number: int, words: str) -> Answer:
        name = portable(self.found[number].name)
        return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, make_trouble(name, printable(words)))

    def _hear(self, number: int) -> HeardRecording:
        sources = self._sources._replace(found=[self.found[number]], spread=HERE)
        length = Length.of(sources)
        shown_s = length.most_s if length.seconds is None else min(length.seconds, length.most_s)
        return hear_recording(sources, self._settings, length, shown_s)

    def _make(self, number: int, part: int) -> bytes | None:
        recording = self._heard(number)
        length, most = recording.length.seconds or 0.0, recording.length.most_s
        parts = max(ceil(length / most - 1e-9), 1)
        if part >= parts:
            return None
        start_s = part * most
        payload = recording.payload(start_s, min(length - start_s, most))
        payload["links"] = {
            "all": "../",
            "earlier": f"../{number}/{part - 1}" if part else None,
            "later": f"../{number}/{part + 1}" if part + 1 < parts else None,
        }
        return make_page(payload["recording"]["name"], payload)


def _lies_below(folder: Path, found: Found) -> bool:
    """Whether a recording lies below a folder, and not behind a link that leads out of it."""
    try:
        return found.source.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link that leads nowhere, or in a circle
        return False


class Server(ThreadingHTTPServer):
    """Serves pages to this computer, at most `most` connections at once."""

    daemon_threads = True

    def __init__(self, pages: Pages, port: int = 0, most: int = _MOST_REQUESTS) -> None:
        self.pages = pages
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._room = BoundedSemaphore(most)
        super().__init__((_HOST, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (_HOST, "localhost")}

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{_HOST}:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; close the connection if there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As before, and make room for another one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, but not that the browser went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ulmo", ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with the content."""
        self._send(self._answer(), body=True)

    def do_HEAD(self) -> None:
        """Answer without the content."""
        self._send(self._answer(), body=False)

    def _answer(self) -> Answer:
        if self.headers.get("Host") not in self.server.hosts:
            return Answer(HTTPStatus.FORBIDDEN)  # a stranger's name that leads to this computer
        _, given, *rest = [*self.path.split("/", 2), ""]
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            return Answer(HTTPStatus.NOT_FOUND)
        place = _PLACE.fullmatch(rest[0])
        if place is None or self.path.count("/") < 2:
            return Answer(HTTPStatus.NOT_FOUND)
        if place[1] is None:
            return Answer(HTTPStatus.OK, self.server.pages.index())
        return self.server.pages.page(int(place[1]), int(place[2]))

    def _send(self, answer: Answer, *, body: bool) -> None:
        status, content = answer
        wanted = self.headers.get("Range")
        headers = dict(_HEADERS)
        if status == HTTPStatus.OK and wanted:
            size = len(content)
            first, end = _range_of(wanted, size)
            if first >= end:
                status, content = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b""
                headers["Content-Range"] = f"bytes */{size}"
            elif end - first < size or wanted != "bytes=0-":
                status, content = HTTPStatus.PARTIAL_CONTENT, content[first:end]
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _range_of(wanted: str, size: int) -> tuple[int, int]:
    """First byte and end of a range; (0, 0) if it is none of `size` bytes."""
    found = _RANGE.fullmatch(wanted)
    if found is None:
        return 0, 0
    if found[3]:
        return max(size - int(found[3]), 0), size
    end = min(int(found[2]) + 1, size) if found[2] else size
    return int(found[1]), end


def serve(
    sources: Sources,
    settings: LookSettings,
    port: int,
    ready: Callable[[str, int], None],
    *,
    folder: Path | None = None,
) -> None:
    """Serve until Ctrl-C. `ready` is called with the address, and how many recordings there are.

    folder: see `Pages`. UserError if the port is taken.
    """
    pages = Pages(sources, settings, folder)
    try:
        server = Server(pages, port)
    except OSError as error:
        raise UserError(f"port {port} cannot be had ({error}): choose another --port") from None
    with server:
        ready(server.address, len(pages.found))
        server.serve_forever(poll_interval=0.2)
