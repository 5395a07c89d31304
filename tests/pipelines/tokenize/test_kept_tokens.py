"""Tokens of what cannot be read now stay, whatever its name is, and wherever a job was killed."""

import os

import pytest

from tests.bounded import some_of
from tests.failing_reads import bad_sector
from tests.pipelines.recordings import Killed, by_path, contents, kill, noise, state, write
from tests.pipelines.tokenizing import (
    FIRST,
    SECOND,
    Drive,
    hidden,
    join,
    moments,
    quiet,
    tokenize,
)
from ulmo.config import UserError
from ulmo.formats.read import read_corpus
from ulmo.jobs.spread import Spread
from ulmo.pipelines.tokenize import tokenize as pipeline
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.verify.verify import verify

THIRD = "20240101_000020.wav"
MAKERS = {"table": tokenize, "timeline": join}


@pytest.fixture
def drive(tmp_path):
    return Drive(tmp_path)


@pytest.fixture
def closed(monkeypatch):
    """A function that closes each folder of a name, so that it cannot be looked into."""
    looked = os.scandir

    def close(name):
        def denied(path):
            if str(path).endswith(f"/{name}"):
                raise PermissionError(13, "Permission denied", str(path))
            return looked(path)

        monkeypatch.setattr(os, "scandir", denied)

    yield close
    monkeypatch.setattr(os, "scandir", looked)


def make(kind, tokenizer, *sources, out, lines):
    """A table or a timeline; what is said goes to `lines`."""
    listener = quiet()._replace(warn=lines.append)
    if kind == "table":
        return tokenize(tokenizer, *sources, out=out, file_format="csv", listener=listener)
    options = TokenizeOptions(file_format="csv")
    how = {"out": out, "spread": Spread(1), "listener": listener}
    return pipeline.tokenize_timeline(tokenizer, sources, options, **how)[0]


def recordings_in(path):
    """How often the tokens of each recording are in a table or a timeline, by its name's end."""
    names = []
    for header, _ in read_corpus(path):
        found = [each.recording for each in header.segments] or [header.recording]
        names += [name.rpartition("/")[2] for name in found]
    return sorted(names)


def tokens_in(folder):
    return {name: content for name, content in contents(folder).items() if "/" in name}


@pytest.mark.parametrize("kind", MAKERS)
class TestOtherNames:
    """A file of all stays if it has tokens of what cannot be read, under another name, too."""

    def test_another_card(self, kind, tokenizer, drive, tmp_path):
        """With recordings of the same names, which are called by their whole paths then."""
        card = self.card(tmp_path)
        self.stays(kind, tokenizer, drive, [drive.links], [card, drive.links], tmp_path)

    def test_one_card_less(self, kind, tokenizer, drive, tmp_path):
        names = (THIRD,) if kind == "timeline" else (FIRST, SECOND)  # it has one of a time
        card = self.card(tmp_path, names)
        self.stays(kind, tokenizer, drive, [card, drive.links], [drive.links], tmp_path)

    def card(self, tmp_path, names=(FIRST, SECOND)):
        for number, name in enumerate(names):
            write(tmp_path / "card" / name, noise(3000, 5 + number))
        return tmp_path / "card"

    @pytest.mark.parametrize("turned", [False, True])
    def test_files_and_their_folder(self, turned, kind, tokenizer, drive, tmp_path):
        ways = [[drive.there], [drive.there / FIRST, drive.there / SECOND]]
        first, second = reversed(ways) if turned else ways
        self.stays(kind, tokenizer, drive, first, second, tmp_path, of_a_sector=True)

    @pytest.mark.parametrize("turned", [False, True])
    def test_paths_of_two_kinds(self, turned, kind, tokenizer, drive, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        away = [path.relative_to(tmp_path) for path in (drive.there / FIRST, drive.there / SECOND)]
        ways = [away, [tmp_path / path for path in away]]
        first, second = reversed(ways) if turned else ways
        self.stays(kind, tokenizer, drive, first, second, tmp_path, of_a_sector=True)

    def test_a_folder_above_that_has_a_closed_one(self, kind, tokenizer, drive, tmp_path, closed):
        drive.there.rename(tmp_path / "links" / "s")
        for path in drive.links.glob("*.wav"):
            path.unlink()
        write(drive.links / THIRD, noise(3000, 6))
        lines, out = [], tmp_path / "out" / "all.csv"
        make(kind, tokenizer, drive.links / "s", out=out, lines=lines)
        before = contents(out.parent)
        closed("s")
        make(kind, tokenizer, drive.links, out=out, lines=lines)
        assert contents(out.parent) == before
        assert f"it may have tokens of {drive.links / 's'}, which" in lines[0]

    def stays(self, kind, tokenizer, drive, first, second, tmp_path, *, of_a_sector=False):
        lines, out = [], tmp_path / "out" / "all.csv"
        make(kind, tokenizer, *first, out=out, lines=lines)
        assert lines == []
        before = contents(out.parent)
        if of_a_sector:
            for path in drive.there.iterdir():
                write(path, noise(2900, 8, channels=2))
            with bad_sector(5000):
                make(kind, tokenizer, *second, out=out, lines=lines)
        else:
            drive.leave()
            make(kind, tokenizer, *second, out=out, lines=lines)
        assert contents(out.parent) == before
        assert len(lines) == 1


def test_what_another_recording_of_that_name_has_made_again(tokenizer, tmp_path):
    """A new card with a file that could never be read: the first card's tokens are there again."""
    lines, out = [], tmp_path / "out" / "all.csv"
    write(tmp_path / "a" / FIRST, noise(3000, 1))
    make("table", tokenizer, tmp_path / "a", out=out, lines=lines)
    write(tmp_path / "b" / SECOND, noise(3000, 2))
    (tmp_path / "b" / FIRST).symlink_to(tmp_path / "nowhere")
    make("table", tokenizer, tmp_path / "a", tmp_path / "b", out=out, lines=lines)
    assert (lines, recordings_in(out)) == ([], [FIRST, SECOND])


def test_a_closed_folder_keeps_no_table_from_growing(tokenizer, tmp_path, closed):
    lines, out = [], tmp_path / "out" / "all.csv"
    write(tmp_path / "a" / FIRST, noise(3000, 1, channels=2))
    write(tmp_path / "a" / "s" / THIRD, noise(3000, 3))
    closed("s")
    make("table", tokenizer, tmp_path / "a", out=out, lines=lines)
    write(tmp_path / "a" / SECOND, noise(3000, 2))
    make("table", tokenizer, tmp_path / "a", out=out, lines=lines)
    assert (lines, recordings_in(out)) == ([], [FIRST, SECOND])


@pytest.mark.kills
@pytest.mark.parametrize("kind", MAKERS)
class TestKilled:
    """A file of all that is killed at any moment while it is replaced, and then a drive is away."""

    @pytest.mark.parametrize("more_cards", [False, True])
    def test_nothing_is_lost(self, more_cards, kind, tokenizer, drive, tmp_path, monkeypatch):
        # Without its header, a file of another name is only replaced by one of the same bytes.
        out = tmp_path / "out" / ("all.tokens.csv" if more_cards else "all.csv")
        how = {"make": MAKERS[kind], "file_format": "csv"}
        MAKERS[kind](tokenizer, drive.links, out=out, file_format="csv")
        write(drive.there / FIRST, noise(3000, 8))
        write(drive.links / THIRD, noise(3000, 3))
        copies = moments(monkeypatch, tokenizer, drive.links, out=out, **how)
        assert len(copies) > 10
        copies = some_of(copies, f"{kind} {more_cards}")
        sources = [drive.links]
        if more_cards:
            write(tmp_path / "card" / "20240101_000030.wav", noise(3000, 4))
            write(tmp_path / "card" / "20240101_000040.wav", noise(3000, 5))
            sources = [tmp_path / "card", drive.links]
        drive.leave()
        left = {}  # a copy of each kind
        for copy in copies:
            lines = []
            make(kind, tokenizer, *sources, out=copy / out.name, lines=lines)
            found = recordings_in(copy / out.name)
            assert {FIRST, SECOND} <= {*found}, copy.name
            assert len(found) == len({*found})
            assert lines or hidden(copy) == []
            left.setdefault(state(copy), copy)
        drive.come()
        lines = []
        make(kind, tokenizer, *sources, out=tmp_path / "fresh" / out.name, lines=lines)
        for copy in left.values():
            make(kind, tokenizer, *sources, out=copy / out.name, lines=lines)
            assert contents(copy) == contents(tmp_path / "fresh"), copy.name
        assert lines == []

    def test_in_a_closed_folder(self, kind, tokenizer, tmp_path, monkeypatch, closed):
        field, out = tmp_path / "field", tmp_path / "out" / "all.csv"
        write(field / "s" / FIRST, noise(3000, 1))
        write(field / "s" / "t" / SECOND, noise(3000, 2))
        MAKERS[kind](tokenizer, field, out=out, file_format="csv")
        write(field / THIRD, noise(3000, 3))
        how = {"make": MAKERS[kind], "file_format": "csv"}
        copies = moments(monkeypatch, tokenizer, field, out=out, **how)
        closed("s")
        for copy in some_of(copies, kind):
            make(kind, tokenizer, field, out=copy / out.name, lines=[])
            assert {FIRST, SECOND} <= {*recordings_in(copy / out.name)}, copy.name

    def test_a_second_drive_is_away_later(self, kind, tokenizer, drive, tmp_path, monkeypatch):
        """The part of the first stays while the file has to stay as it is for the second."""
        out, lines = tmp_path / "out" / "all.csv", []
        other = tmp_path / "other" / THIRD
        write(other, noise(3000, 3))
        write(drive.links / "s" / THIRD, noise(3000, 3))
        MAKERS[kind](tokenizer, drive.links / "s", out=out, file_format="csv")
        before = out.read_bytes()
        (drive.links / "s" / THIRD).unlink()
        (drive.links / "s" / THIRD).symlink_to(other)
        how = {"make": MAKERS[kind], "file_format": "csv"}
        copies = moments(monkeypatch, tokenizer, drive.links, out=out, **how)
        whole = [copy for copy in copies if (copy / out.name).exists()]
        copy = [copy for copy in whole if (copy / out.name).read_bytes() == before][-1]
        for part in copy.glob(".*.parts/token*/*"):
            if THIRD in part.read_text(errors="replace"):
                part.unlink()
        drive.leave()
        other.rename(tmp_path / "gone.wav")
        make(kind, tokenizer, drive.links, out=copy / out.name, lines=lines)
        assert len(lines) == 1
        assert (copy / out.name).read_bytes() == before
        (tmp_path / "gone.wav").rename(other)
        make(kind, tokenizer, drive.links, out=copy / out.name, lines=lines)
        assert recordings_in(copy / out.name) == [FIRST, SECOND, THIRD]
        assert hidden(copy) == []


class TestFolder:
    """A new recording does not get the place of tokens whose recording cannot be read."""

    @pytest.fixture
    def out(self, tokenizer, drive, tmp_path):
        """Tokens of x.wav are called x.wav.tokens.npy, as there was an x.aiff."""
        (drive.links / FIRST).rename(drive.links / "x.wav")
        write(drive.links / "x.aiff", noise(3000, 6))
        tokenize(tokenizer, drive.links, out=tmp_path / "out")
        (drive.links / "x.aiff").unlink()
        return tmp_path / "out"

    @pytest.mark.kills
    def test_wherever_the_job_is_killed(self, tokenizer, drive, out, tmp_path, monkeypatch):
        before = tokens_in(out)
        write(drive.links / "x.wav.wav", noise(3000, 7))
        drive.leave()
        copies = moments(monkeypatch, tokenizer, drive.links, out=out)
        assert len(copies) > 10
        for copy in some_of(copies):
            tokenize(tokenizer, drive.links, out=copy)
            assert contents(copy) == contents(out), copy.name
            assert hidden(copy) == []
        new = {"tokens/x.wav.wav.tokens.npy", "token_headers/x.wav.wav.tokens.json"}
        kept = before.keys() - {"tokens/x.aiff.tokens.npy", "token_headers/x.aiff.tokens.json"}
        assert tokens_in(out).keys() >= new | kept
        assert all(tokens_in(out)[name] == before[name] for name in kept)
        assert {row["status"] for row in by_path(out).values()} == {"ok"}
        drive.come()
        for _ in range(2):
            tokenize(tokenizer, drive.links, out=out)
        for name in ("tokens/x.aiff.tokens.npy", "token_headers/x.aiff.tokens.json"):
            (out / name).unlink()
        tokenize(tokenizer, drive.links, out=tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_read_that_fails(self, workers, tokenizer, drive, out):
        """Which is not known before it is tried."""
        before = tokens_in(out)
        write(drive.links / "x.wav.wav", noise(1500, 7))
        for path in drive.there.iterdir():
            path.touch()
        with bad_sector(5000):
            tokenize(tokenizer, drive.links, out=out, workers=workers)
        if workers == 1:  # workers know nothing of the sector
            assert before.items() <= tokens_in(out).items()
            assert (out / "tokens" / "x.wav.wav.tokens.npy").exists()
        assert {row["status"] for row in by_path(out).values()} == {"ok"}
        assert not {fault.what for fault in verify(out).faults} - {"orphan"}

    def test_a_closed_folder_hides_names_in_use(self, tokenizer, drive, tmp_path, closed):
        write(drive.links / "s" / "x.wav", noise(3000, 4))
        out, more = tmp_path / "out", tmp_path / "more"
        tokenize(tokenizer, drive.links, out=out)
        write(more / "s" / "x.aiff", noise(3000, 5))
        write(more / "s" / "y.wav", noise(3000, 5))
        before = tokens_in(out)
        drive.leave()
        closed("links/s")
        for _ in range(2):
            results = tokenize(tokenizer, drive.links, more, out=out)
            assert before.items() <= tokens_in(out).items()
        (new,) = [each for each in results if each.source.name == "x.aiff"]
        assert [path.name for path in new.outputs] == ["x.aiff.tokens.npy"]
        assert by_path(out).keys() == {FIRST, SECOND, "s/x.wav", "s/x.aiff", "s/y.wav"}

    def test_without_a_free_name_it_is_refused(self, tokenizer, drive, tmp_path, closed):
        """Below two folders of one name, of which one is closed."""
        out, more = tmp_path / "out", tmp_path / "more"
        for folder, first in ((drive.links, 4), (more, 6)):
            for number, name in enumerate(("x.wav", "x.aiff")):
                write(folder / "s" / name, noise(3000, first + number))
        tokenize(tokenizer, drive.links, out=out)
        before = tokens_in(out)
        closed("links/s")
        for _ in range(2):
            results = tokenize(tokenizer, drive.links, more, out=out)
            new = {each.outcome.reason for each in results if each.source.parent == more / "s"}
            assert (new, tokens_in(out)) == ({"unwritable"}, before)
        assert not {fault.what for fault in verify(out).faults} - {"refused"}

    def test_under_another_name_its_row_stays(self, tokenizer, drive, tmp_path):
        """Named below another folder: its tokens are no orphans, and go once it can be read."""
        out = tmp_path / "out"
        (drive.links / "s").mkdir()
        (drive.links / "s" / "x.wav").symlink_to(drive.there / FIRST)
        tokenize(tokenizer, drive.links / "s", out=out)
        before = tokens_in(out)
        drive.leave()
        for _ in range(2):
            tokenize(tokenizer, drive.links, out=out)
            assert before.items() <= tokens_in(out).items()
            assert by_path(out)["x.wav"]["status"] == "ok"
            assert by_path(out)["s/x.wav"]["status"] == "refused"
        assert verify(out).faults == []
        drive.come()
        tokenize(tokenizer, drive.links, out=out)
        tokenize(tokenizer, drive.links, out=tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    def test_another_recording_has_its_name_now(self, tokenizer, drive, tmp_path):
        """x.wav below s, and then x.wav beside s."""
        out, hidden_name = tmp_path / "out", drive.links / "s" / "x.wav"
        hidden_name.parent.mkdir()
        hidden_name.symlink_to(drive.there / FIRST)
        tokenize(tokenizer, hidden_name.parent, out=out)
        before = tokens_in(out)
        drive.leave()
        write(drive.links / "x.wav", noise(3000, 5))
        for _ in range(2):
            tokenize(tokenizer, drive.links, out=out)
            assert before.items() <= tokens_in(out).items()
            assert (out / "tokens" / "x.wav.tokens.npy").exists()
        assert not {fault.what for fault in verify(out).faults} - {"refused"}
        drive.come()
        for _ in range(2):
            tokenize(tokenizer, drive.links, out=out)
        tokenize(tokenizer, drive.links, out=tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")


def test_parts_of_other_settings_stay_while_a_recording_cannot_be_read(
    tokenizer, drive, tmp_path, monkeypatch
):
    """They are all there is of it, and one line says where they are."""
    lines, out = [], tmp_path / "out" / "all.csv"
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "publish_tokens", lambda *_, **__: kill())
        with pytest.raises(Killed):
            make("table", tokenizer, drive.links, out=out, lines=lines)
    drive.leave()
    how = {"file_format": "csv", "channels": "each"}
    before = contents(out.parent)
    with pytest.raises(UserError, match=r"\.all\.csv\.parts was made with other settings"):
        tokenize(tokenizer, drive.links, out=out, **how)
    assert contents(out.parent) == before
    drive.come()
    tokenize(tokenizer, drive.links, out=out, listener=quiet(), **how)
    assert recordings_in(out) == [FIRST, FIRST, SECOND, SECOND]
