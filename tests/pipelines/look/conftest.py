import json
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
