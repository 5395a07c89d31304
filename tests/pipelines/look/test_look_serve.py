"""ulmo look --serve: what it answers, and what it does not."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from threading import Thread

import numpy as np
import pytest
import soundfile

from tests.commands import assert_refused, run
from tests.pipelines.look.conftest import CALLS, Parts
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.jobs.spread import Spread
from ulmo.listening.listen import Wanted
from ulmo.listening.recordings import Sources
from ulmo.pipelines.look import recording
from ulmo.pipelines.look.recording import LookSettings
from ulmo.pipelines.look.serve import Pages, Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Calls, a name with HTML, one that cannot be read, and a link that leads out."""
    top = tmp_path_factory.mktemp("served")
    below = top / "field"
    below.mkdir()
    for path in (below / "a.wav", below / "b<img src=x>.wav", top / "secret.wav"):
        path.write_bytes(CALLS.read_bytes())
    (below / "c.wav").write_bytes(b"RIFF")
    (below / "d.wav").symlink_to(top / "secret.wav")
    return below


@pytest.fixture(scope="module")
def server(folder, tokenizer):
    sources = Sources.of(tokenizer, [folder], Wanted(), spread=Spread(1))
    settings = LookSettings(impulses=False)
    with Server(Pages(sources, settings, folder)) as served:
        Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
        yield served
        served.shutdown()


def ask(server, path, method="GET", **headers):
    """Status, headers and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def test_the_index_lists_what_lies_in_the_folder(server):
    status, headers, content = ask(server, f"/{server.token}/")
    assert status == 200
    parts = Parts(content)
    assert re.findall(r'<a href="(\d+)/0">', content.decode()) == ["0", "1", "2"]
    assert b"a.wav" in content
    assert b"d.wav" not in content
    assert not {"img", "script"} & set(parts.tags)
    assert parts.policy.startswith("default-src 'none'; ")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_is_made_when_it_is_asked_for(server):
    status, _, content = ask(server, f"/{server.token}/0/0")
    assert status == 200
    payload = Parts(content).payload
    assert payload["recording"]["name"] == "a.wav"
    assert payload["links"] == {"all": "../", "earlier": None, "later": None}


def test_a_recording_that_cannot_be_read_has_a_page_with_the_reason(server):
    status, _, content = ask(server, f"/{server.token}/2/0")
    assert status == 422
    assert b"refused: " in content
    assert b"c.wav" in content


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/index.html", "/{}", "/{}/9/0", "/{}/0/1", "/{}/0", "/{}/0/0/", "/{}/a.wav"),
        *("/{}/../secret.wav", "/{}/%2e%2e/secret.wav", "/{}/-1/0", "/{}/0/0?x", "/wrong/0/0"),
        *("/{}x/0/0", "/%C3%BC/0/0", "/{}/99999999999/0", "/favicon.ico"),
    ],
)
def test_nothing_else_is_there(server, path):
    status, _, content = ask(server, path.format(server.token))
    assert (status, content) == (404, b"")


def test_other_hosts_and_other_methods_get_nothing(server):
    place = f"/{server.token}/"
    for host in ("example.com", f"example.com:{server.server_port}", "127.0.0.1", ""):
        assert ask(server, place, Host=host)[::2] == (403, b"")
    assert ask(server, place, Host=f"localhost:{server.server_port}")[0] == 200
    assert ask(server, place, method="POST")[0] == 501
    assert ask(server, place, method="HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=10-99999999", slice(10, None)),
    ],
)
def test_a_range_is_a_part_of_the_page(server, wanted, part):
    whole = ask(server, f"/{server.token}/0/0")[2]
    status, headers, content = ask(server, f"/{server.token}/0/0", Range=wanted)
    assert (status, content) == (206, whole[part])
    assert headers["Content-Range"].endswith(f"/{len(whole)}")


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-4", "lines=1-2", "bytes=0-1,3-4"])
def test_a_range_that_is_none_is_refused(server, wanted):
    status, _, content = ask(server, f"/{server.token}/0/0", Range=wanted)
    assert (status, content) == (416, b"")


def test_only_this_computer_is_answered(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_more_connections_than_its_bound_are_closed(server):
    with Server(server.pages, most=1) as narrow:
        Thread(target=narrow.serve_forever, args=(0.05,), daemon=True).start()
        with socket.create_connection(narrow.server_address) as held:
            held.sendall(f"GET / HTTP/1.1\r\nHost: {min(narrow.hosts)}\r\n\r\n".encode())
            assert held.recv(99).startswith(b"HTTP/1.1 404 ")  # and it stays open
            with pytest.raises((ConnectionError, http.client.BadStatusLine)):
                ask(narrow, f"/{narrow.token}/")
        narrow.shutdown()


def test_a_long_recording_has_parts(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MOST_SECONDS", 4.0)
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 80_000).clip(-1, 1)
    soundfile.write(path, noise, 8000)
    sources = Sources.of(tokenizer, [path], Wanted(), spread=Spread(1))
    pages = Pages(sources, LookSettings(impulses=False))
    parts = [Parts(pages.page(0, number).content).payload for number in range(3)]
    assert [part["recording"]["start_s"] for part in parts] == [0, 4, 8]
    assert [part["recording"]["seconds"] for part in parts] == pytest.approx([4, 4, 2])
    assert [part["links"]["later"] for part in parts] == ["../0/1", "../0/2", None]
    assert [part["links"]["earlier"] for part in parts] == [None, "../0/0", "../0/1"]
    assert sum(part["tokens"]["columns"] for part in parts) == len(tokenizer.encode(path).ids)
    assert pages.page(0, 3).status == 404


def test_it_serves_until_ctrl_c(folder):
    arguments = (sys.executable, "-m", "ulmo", "look", str(folder), "--serve")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        lines = [process.stdout.readline().decode() for _ in range(3)]
        assert lines[0] == "recordings  3\n"
        address = re.fullmatch(r"pages       http://127\.0\.0\.1:(\d+)/[\w-]{22}/\n", lines[1])
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 404
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == exits.INTERRUPTED
        assert errors == b"ulmo: interrupted\n"


def test_wrong_usage_is_one_line(folder, server, tmp_path):
    assert_refused(run(command, "look", folder), "add --serve")
    result = run(command, "look", folder, "--serve", "--out", tmp_path / "x.html")
    assert_refused(result, "--serve writes no file")
    taken = run(command, "look", folder, "--serve", "--port", server.server_port)
    assert_refused(taken, f"port {server.server_port} cannot be had", "--port")
