import json
import shutil
from html.parser import HTMLParser

import pytest

from tests.conftest import SAMPLES
from ulmo.jobs.spread import Spread
from ulmo.listening.listen import Wanted
from ulmo.listening.recordings import Sources
from ulmo.pipelines.look.look import look
from ulmo.pipelines.look.recording import LookSettings
from ulmo.tokenizer import load_tokenizer

CALLS = SAMPLES / "harmonic_calls.wav"
READY = "html[data-ready=yes]"


class Parts(HTMLParser):
    """The elements of a page, and the text of its scripts and styles as a browser takes it."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.policy, self.texts = [], "", []
        self._of = None
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        if tag in ("script", "style", "title"):
            self._of = attrs.get("id", tag)
            self.texts.append([self._of, ""])

    def handle_endtag(self, tag):
        self._of = None

    def handle_data(self, data):
        if self._of:
            self.texts[-1][1] += data

    def text(self, name):
        (found,) = (text for each, text in self.texts if each == name)
        return found

    @property
    def payload(self):
        return json.loads(self.text("payload"))


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer(threads=1)


@pytest.fixture(scope="session")
def write_page(tokenizer):
    """Write the page of a recording; what was written."""

    def write(recording, page, **options):
        used = tokenizer.with_sound(options.pop("time_expansion", None))
        sources = Sources.of(used, [recording], Wanted(), spread=Spread(1))
        return look(sources, page, LookSettings(**options))

    return write


@pytest.fixture(scope="session")
def calls_page(write_page, tmp_path_factory):
    """The page of six calls."""
    page = tmp_path_factory.mktemp("look") / "calls.html"
    write_page(CALLS, page)
    return page


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium. While it is open, an event loop runs in the thread of the tests."""
    reason = "playwright is not installed"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no chromium: apt-get install it")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser):
    """Open a page; at the end it must have asked for nothing, and complained of nothing."""
    contexts, requests, complaints = [], [], []

    def open_page(path, **options):
        context = browser.new_context(viewport={"width": 1240, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:null/"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


@pytest.fixture
def page(opened, calls_page):
    return opened(calls_page)
