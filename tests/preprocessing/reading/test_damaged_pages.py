"""Pages of Ogg that are damaged or gone are said: libsndfile passes over them."""

import pytest

from tests.preprocessing.reading import edited
from tests.preprocessing.reading.sounds import read, written
from ulmo.preprocessing.reading.audio import RefusedError

CUT = ("partial", "truncated")


@pytest.mark.parametrize("kind", ["ogg, vorbis", "ogg, opus"])
@pytest.mark.parametrize("what", ["a bit", "a size", "all of it"])
def test_a_page_that_is_damaged_or_gone_is_said(tmp_path, kind, what):
    """libsndfile passes over it; without the first page of sound, all that follows is early."""
    plain = written(kind, 150_000, 16000)
    pages = edited.ogg_pages(plain)
    for number in range(len(pages)):
        page = bytearray(pages[number])
        place = {"a bit": len(page) - 9, "a size": 27}.get(what)
        if place is not None:
            page[place] ^= 1
        changed = bytes(page) if place is not None else b""
        content = b"".join([*pages[:number], changed, *pages[number + 1 :]])
        if number < 2:  # of headers
            with pytest.raises(RefusedError, match="not known"):
                read(tmp_path, content)
            continue
        found = read(tmp_path, content)
        assert len(found.samples) < 150_000
        assert found.verdict == CUT
        if number == len(pages) - 1:
            assert found.detail == "the stream has no last page: an unknown length is missing"
        else:
            assert "pages of an Ogg stream that are missing or damaged: 1" in found.detail
            assert ("before its first sound" in found.detail) is (number == 2)


def test_one_without_a_whole_page_is_refused_for_it(tmp_path):
    content = written("ogg, vorbis", 3000)
    damaged = edited.with_field(content, 22, "<I", 0)[: len(edited.ogg_pages(content)[0])]
    with pytest.raises(RefusedError, match="no page of an Ogg stream has its checksum"):
        read(tmp_path, damaged)
