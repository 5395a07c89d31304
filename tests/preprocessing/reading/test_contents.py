"""All the sound that a file holds is read, whatever its header says of the length."""

import io
import struct
from unittest import mock

import numpy as np
import pytest

from tests.oracles import wav_bytes
from tests.preprocessing.reading import edited
from tests.preprocessing.reading.sounds import frames_in, read, written
from ulmo.preprocessing.reading import flac, ogg, plan
from ulmo.preprocessing.reading.audio import RefusedError, open_recording

OK, SIZES = ("ok", None), ("repaired", "header_sizes")
JOINED, CUT, MORE = ("repaired", "joined"), ("partial", "truncated"), ("partial", "more_data")
TAG = b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + b"x" * 257
APE = b"APETAGEX" + struct.pack("<4I8x", 2000, 32 + 40, 1, 0xA0000000) + b"k" * 40
APE += b"APETAGEX" + struct.pack("<4I8x", 2000, 32 + 40, 1, 0x80000000)
ONE_OF_EACH = ("wav", "rf64", "w64", "flac", "ogg, vorbis", "ogg, opus", "mp3", "aiff", "caf", "au")


# Where the sizes of a header are: a mark and the bytes from it, the type, and unknown sizes.
PLACES = {
    "aiff": [(b"COMM", 10, ">I", (0,)), (b"SSND", 4, ">I", (0, 8))],
    "caf": [(b"data", 4, ">q", (-1, 0, 4))],
    "au": [(b".snd", 8, ">I", (0, 0xFFFFFFFF))],
    "w64": [(b"data", 16, "<Q", (0, 24, (1 << 63) - 1))],
}


def same(tmp_path, content, plain, verdict=OK):
    """Assert that a file has the samples of another, and none missing."""
    found, due = read(tmp_path, content), read(tmp_path, plain)
    np.testing.assert_array_equal(found.samples, due.samples)
    assert (found.verdict, found.missing) == (verdict, 0)


class TestFlac:
    @pytest.mark.parametrize("frames", [100, 9000, 70_000])
    @pytest.mark.parametrize("share", [0, 0.5, 0.999, 1.001, 2])
    def test_the_frames_are_counted_whatever_the_header_says(self, tmp_path, share, frames):
        plain = written("flac", frames)
        changed = edited.with_total(plain, int(frames * share) + (share > 1))
        same(tmp_path, changed, plain, SIZES if share * frames else ("repaired", "header_sizes"))

    def test_one_that_was_cut_short_lacks_what_its_header_says(self, tmp_path):
        plain = written("flac", 70_000)
        for size in (len(plain) - 1, len(plain) // 2):
            frames, missing, verdict = frames_in(tmp_path, plain[:size])
            assert frames + missing == 70_000
            assert missing > 0
            assert verdict == ("partial", "decode_error")

    def test_a_decoder_that_fails_is_said_where_no_length_is_known(self, tmp_path):
        """Bytes before the first frame, and no length in the header."""
        plain = edited.with_total(written("flac", 70_000), 0)
        start = flac._audio_start(io.BytesIO(plain), len(plain))
        found = read(tmp_path, plain[:start] + b"junkjunk" + plain[start:])
        assert found.verdict == ("partial", "decode_error")
        assert found.detail == (
            f"the decoder failed after {len(found.samples)} frames: "
            "how many frames are missing is not known"
        )

    def test_a_long_filling_before_other_bytes_is_looked_at_once(self, tmp_path):
        content = edited.with_total(written("flac", 9000), 20_000) + bytes(50_000) + b"x"
        with mock.patch.object(flac, "skip_filling", wraps=flac.skip_filling) as skip:
            read(tmp_path, content)
        assert skip.call_count < 10

    def test_in_ogg(self, tmp_path):
        plain = written("flac", 70_000)
        same(tmp_path, edited.ogg_flac(plain), plain)
        same(tmp_path, edited.ogg_flac(edited.with_total(plain, 0)), plain, SIZES)
        same(tmp_path, 2 * edited.ogg_flac(plain), 2 * plain, JOINED)


class TestMpeg:
    @pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1), (48000, 2)])
    def test_without_info_it_has_the_length_of_its_frames(self, tmp_path, rate, channels):
        whole = written("mp3", 50_000, rate, channels)
        bare, frames = edited.without_info(whole)
        found = read(tmp_path, bare)
        assert (len(found.samples), found.missing, found.verdict) == (frames, 0, OK)
        trimmed = read(tmp_path, whole).samples  # of the delays of coder and decoder
        late = max(range(0, 3000), key=lambda late: close(found.samples[late:], trimmed))
        assert close(found.samples[late:], trimmed) == 1

    def test_a_loud_or_silent_beginning_changes_nothing(self, tmp_path):
        """Frames of variable length: the first says nothing of the others."""
        frames = edited.mpeg_frames(written("mp3", 50_000))[1:]
        short = min(frames, key=len)
        content = short * 5 + b"".join(frames)
        assert frames_in(tmp_path, content)[:2] == ((len(frames) + 5) * 576, 0)

    @pytest.mark.parametrize("front", [bytes(300), TAG, TAG + bytes(1000)])
    def test_behind_nuls_and_tags(self, tmp_path, front):
        for plain in (written("mp3", 9000), edited.without_info(written("mp3", 9000))[0]):
            same(tmp_path, front + plain, plain)

    def test_from_the_middle_of_a_frame(self, tmp_path):
        frames = edited.mpeg_frames(written("mp3", 20_000))[1:]
        for front in (frames[0][5:], frames[0][-1:], bytes(9) + frames[0][50:]):
            found = read(tmp_path, front + b"".join(frames[1:]))
            assert found.verdict == ("repaired", "leading_bytes")
            assert len(found.samples) == (len(frames) - 1) * 576

    def test_an_info_frame_that_counts_itself(self, tmp_path):
        plain = written("mp3", 9000)
        place = plain.index(b"Xing") + 8
        (count,) = struct.unpack(">I", plain[place : place + 4])
        found = read(tmp_path, edited.with_field(plain, place, ">I", count + 1))
        assert (found.verdict, found.missing) == (OK, 0)
        found = read(tmp_path, edited.with_field(plain, place, ">I", count + 9))
        assert (found.verdict, found.missing > 0) == (CUT, True)

    def test_one_that_ends_within_a_frame(self, tmp_path):
        bare, frames = edited.without_info(written("mp3", 9000))
        assert frames_in(tmp_path, bare[:-10]) == (frames - 576, 576, CUT)

    def test_damage_between_frames_is_said(self, tmp_path):
        frames = edited.mpeg_frames(written("mp3", 20_000))[1:]
        found = read(tmp_path, b"".join(frames[:9]) + b"\x55" * 333 + b"".join(frames[9:]))
        assert (len(found.samples), found.verdict) == (576 * len(frames), CUT)
        assert "333 bytes" in found.detail

    def test_another_number_of_channels_or_rate_is_counted(self, tmp_path):
        one = edited.without_info(written("mp3", 9000))
        for other in (written("mp3", 9000, 8000, 2), written("mp3", 9000, 16000, 1)):
            second = edited.without_info(other)
            assert frames_in(tmp_path, one[0] + second[0]) == (one[1], second[1], MORE)

    def test_free_format_is_refused_for_what_it_is(self, tmp_path):
        frame = bytes.fromhex("fffb0064") + b"\x11" * 400
        with pytest.raises(RefusedError, match="free format") as error:
            read(tmp_path, frame * 20)
        assert error.value.reason == "unsupported_coding"


def close(samples, others):
    """Correlation of samples with the first of others, rounded."""
    length = min(len(samples), len(others))
    return round(np.corrcoef(samples[:length, 0], others[:length, 0])[0, 1], 3)


class TestOgg:
    @pytest.mark.parametrize("kind", ["ogg, vorbis", "ogg, opus"])
    def test_cut_out_of_a_stream(self, tmp_path, kind):
        plain = written(kind, 150_000, 48000)
        same(tmp_path, edited.with_granules(plain, 3600 * 48000), plain)

    @pytest.mark.parametrize("kind", ["ogg, vorbis", "ogg, opus"])
    def test_missing_pages_are_missing_frames(self, tmp_path, kind):
        plain = written(kind, 150_000, 16000)
        pages = edited.ogg_pages(plain)
        middle = len(pages) // 2
        frames, missing, verdict = frames_in(
            tmp_path, b"".join(pages[:middle] + pages[middle + 1 :])
        )
        assert frames + missing == 150_000
        assert 0 < missing < 50_000
        assert verdict == CUT

    def test_streams_that_lie_between_each_others_pages(self, tmp_path):
        """The first is read, the others are counted."""
        one, other = written("ogg, vorbis", 60_000), written("ogg, opus", 90_000)
        pages = [
            edited.ogg_pages(edited.with_serial(each, 1 + (each is one))) for each in (one, other)
        ]
        mixed = [page for pair in zip(*pages, strict=False) for page in pair]
        used = len(mixed) // 2
        mixed += pages[0][used:] + pages[1][used:]
        found = read(tmp_path, b"".join(mixed))
        np.testing.assert_array_equal(found.samples, read(tmp_path, one).samples)
        assert (found.verdict, found.missing) == (MORE, 90_000)

    def test_bytes_between_short_pages_are_read_once(self):
        """A file of a few megabytes would else be read for hours."""
        head = b"\x7fFLAC" + bytes(40)
        page = edited.ogg_page(head, 1, 0, 0, 2) + b"x"
        content = page + 3000 * (edited.ogg_page(b"", 1, 1, 0, 0) + b"x") + bytes(1 << 20)
        file = mock.Mock(wraps=io.BytesIO(content))
        ogg.split(file, len(content))
        sizes = [call.args[0] for call in file.read.call_args_list]
        assert sum(sizes) < 500 * len(content)

    def test_one_without_its_first_pages_is_refused_for_it(self, tmp_path):
        pages = edited.ogg_pages(written("ogg, vorbis", 60_000))
        with pytest.raises(RefusedError, match=r"first pages .* not known"):
            read(tmp_path, b"".join(pages[3:]))
        whole = written("ogg, vorbis", 5000, seed=1)
        found = read(tmp_path, b"".join(pages[3:]) + whole)
        np.testing.assert_array_equal(found.samples, read(tmp_path, whole).samples)
        assert found.verdict == MORE
        assert "not known" in found.detail


class TestSizes:
    """What a pipe or a crash leaves in headers."""

    @pytest.mark.parametrize("kind", PLACES)
    def test_a_header_without_a_size_is_read_to_the_end(self, tmp_path, kind):
        plain = written(kind, 4001)
        for which in range(2):
            changed = plain
            for mark, offset, layout, values in PLACES[kind]:
                place = plain.index(mark) + offset
                changed = edited.with_field(changed, place, layout, values[which % len(values)])
            same(tmp_path, changed, plain, SIZES)
            found = read(tmp_path, changed + written("wav", 999))
            assert (len(found.samples), found.missing) == (5000, 0)

    def test_a_wav_file_of_size_0_before_another(self, tmp_path):
        plain = written("wav", 4001)
        found = read(tmp_path, edited.with_field(plain, 40, "<I", 0) + written("flac", 999))
        assert (len(found.samples), found.missing, found.verdict) == (5000, 0, SIZES)

    @pytest.mark.parametrize("kind", ["wav", "aiff", "caf", "au", "w64"])
    def test_one_cut_short_before_another(self, tmp_path, kind):
        """Its header reaches into the other."""
        plain = written(kind, 4000)
        for cut in (44, 1000):
            frames, missing, _ = frames_in(tmp_path, plain[:-cut] + written("wav", 3000))
            assert frames + missing >= 7000 - 22 * (kind == "wav")
            assert frames == 7000 - cut // 2

    @pytest.mark.parametrize("kind", ["w64, IMA ADPCM", "aiff, IMA ADPCM", "wav, IMA ADPCM"])
    @pytest.mark.parametrize("cut", [1, 100, 3000])
    def test_coded_blocks_that_are_cut_are_missing(self, tmp_path, kind, cut):
        plain = written(kind, 30_000)
        frames, missing, verdict = frames_in(tmp_path, plain[:-cut])
        assert (frames + missing, verdict) == (frames_in(tmp_path, plain)[0], CUT)
        assert missing > 0

    @pytest.mark.parametrize("kind", ["caf of bytes", "w64, IMA ADPCM", "wav, IMA ADPCM"])
    def test_frames_that_pass_64_bits_are_not_counted(self, tmp_path, kind):
        """The largest size, and packets of a byte that have the most frames."""
        plain = written(kind, 4000)
        place = plain.index(b"data")
        if kind == "caf of bytes":
            content = edited.with_field(plain, plain.index(b"desc") + 28, ">II", 1, 0xFFFFFFFF)
            content = edited.with_field(content, place + 4, ">q", (1 << 48) - 1)
        elif kind == "w64, IMA ADPCM":
            content = edited.with_field(plain, plain.index(b"fmt ") + 36, "<H", 1)
            content = edited.with_field(content, plain.index(b"fmt ") + 42, "<H", 0xFFFF)
            content = edited.with_field(content, place + 16, "<Q", (1 << 48) - 1)
        else:
            large = struct.pack("<QQQI", 0, (1 << 48) - 1, 0, 0)
            content = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + large + plain[12:]
            content = edited.with_field(content, content.index(b"fmt ") + 20, "<H", 1)
            content = edited.with_field(content, content.index(b"fmt ") + 26, "<H", 0xFFFF)
            content = edited.with_field(content, content.index(b"data") + 4, "<I", 0xFFFFFFFF)
        for copies in (1, 300):
            (tmp_path / "recording").write_bytes(copies * content)
            try:
                with open_recording(tmp_path / "recording") as recording:
                    next(recording.blocks())
                facts = recording.facts()
            except RefusedError as refusal:
                facts = refusal.facts()
            assert facts["frames_missing"] < 1 << 62
            assert (facts["frames_declared"] or 0) < 1 << 62

    def test_bw64(self, tmp_path):
        plain = written("rf64", 4000, 8000, 2)
        same(tmp_path, b"BW64" + plain[4:], plain)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
@pytest.mark.parametrize("behind", [b"", b"TAG" + b"x" * 125, APE, bytes(5000), b"no sound" * 99])
def test_tags_and_filling_are_no_sound(tmp_path, kind, behind):
    plain = written(kind, 9001)
    same(tmp_path, plain + behind, plain)
    same(tmp_path, TAG + plain + behind, plain)
    same(tmp_path, bytes(333) + plain + behind, plain)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(99), "M4A"),
        (bytes.fromhex("3026b2758e66cf11") + bytes(99), "WMA"),
        (wav_bytes(b"abcd" * 99, sample_rate=8000, tag=0x55), "0x0055"),
        (b"HpW " + bytes(99), "WAC"),
    ],
)
def test_what_is_refused_is_named(tmp_path, content, words):
    with pytest.raises(RefusedError, match=words) as error:
        read(tmp_path, content)
    assert error.value.reason == "unsupported_coding"
    assert "not known" in error.value.detail
    assert error.value.facts()["frames_missing"] == 0


PCM = ("wav", "wavex", "rf64", "w64", "aiff", "caf", "au")
TAIL = np.random.default_rng(6).normal(0, 900, 3000).astype("<i2").tobytes()


def test_one_of_which_only_headers_are_left_is_said_before_another(tmp_path):
    """Its sound is in its last page, which is cut."""
    found = read(tmp_path, written("ogg, vorbis", 9000)[:-50] + written("wav", 500))
    assert (len(found.samples), found.verdict) == (500, MORE)
    assert "how many frames are missing is not known" in found.detail


def test_mpeg_that_cannot_be_decoded_is_said_in_true_words(tmp_path):
    """Two headers of short frames among random bytes."""
    found = read(tmp_path, written("mp3", 9000) + np.random.default_rng(1).bytes(3000))
    assert (len(found.samples), found.verdict) == (9000, MORE)
    assert "its frames cannot be decoded" in found.detail


class TestBytesBehindTheEnd:
    """Of a size that is too small, or of something that is no sound."""

    @pytest.mark.parametrize("kind", PCM)
    def test_what_may_be_sound_is_counted(self, tmp_path, kind):
        assert frames_in(tmp_path, written(kind, 1000) + TAIL) == (1000, 3000, MORE)

    @pytest.mark.parametrize(
        "head",
        [b"\x80" * 100_000, b"\xff" * 512, b"made by a recorder\n" * 99, b"LIST" + b"\xff" * 8],
        ids=["silence of 8 bits", "silence of mu-law", "text", "a chunk that is longer than any"],
    )
    def test_sound_that_begins_as_what_is_none_is_counted(self, tmp_path, head):
        tail = head + TAIL * (1 + (head[:4] == b"LIST") * 200)
        found = frames_in(tmp_path, written("au", 1000) + tail)
        assert found == (1000, len(tail) // 2, MORE)

    @pytest.mark.parametrize("kind", ["wav, IMA ADPCM", "wav, GSM", "w64, IMA ADPCM", "aiff, GSM"])
    def test_coded_blocks_are_counted_too(self, tmp_path, kind):
        frames, missing, verdict = frames_in(tmp_path, written(kind, 1000) + TAIL)
        assert (frames, verdict) == (frames_in(tmp_path, written(kind, 1000))[0], MORE)
        assert missing > len(TAIL)  # less than a byte each

    @pytest.mark.parametrize("kind", PCM)
    def test_before_another_file(self, tmp_path, kind):
        content = written(kind, 1000) + TAIL + written("wav", 500)
        assert frames_in(tmp_path, content) == (1500, 3000, MORE)

    @pytest.mark.parametrize(
        "tail",
        [
            *(
                TAIL[:500],
                b"\xff" * 6000,
                b"<BWFXML>\r\n" + b"made by a recorder\n" * 99 + bytes(99),
            ),
            *(b"LIST" + struct.pack("<I", 99999) + TAIL, TAG + APE + bytes(6000)),
        ],
        ids=["short", "filling", "text", "a chunk that is cut", "tags"],
    )
    @pytest.mark.parametrize("kind", PCM)
    def test_what_is_no_sound_is_ignored(self, tmp_path, kind, tail):
        assert frames_in(tmp_path, written(kind, 1000) + tail) == (1000, 0, OK)

    @pytest.mark.parametrize("tail", [b"\xff" * 6000, b"made by a recorder\n" * 99])
    def test_what_is_no_sound_ends_where_another_file_begins(self, tmp_path, tail):
        content = written("au", 1000) + tail + written("au", 500)
        assert frames_in(tmp_path, content) == (1500, 0, JOINED)

    def test_what_the_header_declares_counts_first(self, tmp_path):
        """COMM of AIFF declares 4000 frames, SSND is cut to 1000, and 3000 follow it."""
        content = bytearray(written("aiff", 4000))
        place = content.index(b"SSND") + 4
        content[place : place + 4] = struct.pack(">I", 8 + 2000)
        assert frames_in(tmp_path, bytes(content)) == (1000, 3000, CUT)


def test_the_number_of_files_in_one_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MAX_PARTS", 3)
    found = read(tmp_path, 5 * written("au", 100))
    assert (len(found.samples), found.verdict) == (300, MORE)
    assert "more than 3 sound files: the rest is not read" in found.detail
