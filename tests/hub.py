"""A local server that answers as the Hugging Face hub does, well or badly."""

import re
import threading
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT, OLDER = "c" * 40, "0" * 40
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)")


class Hub:
    """Repositories as {"owner/name": {revision: {file: content}}}, and how badly it answers.

    sizes: what it says of a file before it is fetched, where that is not the truth.
    endless: a file that has no end. vanishes: after this file, no revision is there.
    status: of every answer. header: of the commit.
    asked: (method, path) of all requests.
    """

    def __init__(self):
        self.repositories, self.sizes, self.asked = {}, {}, []
        self.endless = self.vanishes = self.status = self.header = None

    def put(self, folder, name="owner/name", revision="main"):
        """A folder's files as a repository."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.repositories.setdefault(name, {})[revision] = files
        return files

    def fetched(self):
        """Names of the files whose content was asked for."""
        return [path.rpartition("/")[2] for method, path in self.asked if method == "GET"]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_content=False)

    def do_GET(self):
        self.answer(with_content=True)

    def answer(self, with_content):
        hub, match = self.server.hub, RESOLVE.fullmatch(self.path)
        hub.asked.append((self.command, self.path))
        revisions = hub.repositories.get(match[1]) if match else None
        if hub.status:
            return self.error(hub.status, None)
        if revisions is None:
            return self.error(401, "RepoNotFound")
        revision = "main" if match[2] == COMMIT else match[2]
        if revision not in revisions:
            return self.error(404, "RevisionNotFound")
        content = revisions[revision].get(match[3])
        if content is None:
            return self.error(404, "EntryNotFound")
        self.send_response(200)
        commit = COMMIT if revision == "main" else revision
        self.send_header("X-Repo-Commit", commit if hub.header is None else hub.header)
        self.send_header("ETag", f'"{sha1(content).hexdigest()}"')
        if with_content and hub.endless == match[3]:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.pour()
        size = hub.sizes.get(match[3], len(content))
        self.send_header("Content-Length", str(len(content) if with_content else size))
        self.end_headers()
        if with_content:
            self.wfile.write(content)
            if hub.vanishes == match[3]:
                revisions.clear()

    def pour(self):
        """Zeros, until the other side hangs up."""
        piece = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
        try:
            for _ in range(200):
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True
        else:
            raise AssertionError("200 MB were taken")

    def error(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing on stderr."""


@contextmanager
def serving():
    """A hub, and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.hub, server.daemon_threads = hub, True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
