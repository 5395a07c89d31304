"""One recording as the commands of events hear it: levels, ids, times, refusals."""

import numpy as np
import pytest
import soundfile

from tests.gaps import write_triggered
from tests.small_tokenizers import HOP, PLANS, RATE, sound
from ulmo.config import UserError
from ulmo.jobs.inputs import find_sources
from ulmo.jobs.spread import Spread
from ulmo.listening.cells import SILENCE_DB, CellLevels, Cells
from ulmo.listening.listen import Job, Wanted, listen
from ulmo.listening.recordings import Sources
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files, tokenize_timeline
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, stream_power

MODES = ("corpus", "recording", "tile", "pcen", "level")
SILENT = Listener(lambda _: lambda *_: None, lambda _: None)


@pytest.fixture
def tokenizer(tokenizer_of):
    return tokenizer_of()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "field" / "20260301_053000.wav"
    path.parent.mkdir()
    soundfile.write(path, np.stack([sound(9001), 0.5 * sound(9001)], axis=1), RATE, "FLOAT")
    return path


def heard_of(tokenizer, path, **wanted):
    (found,) = find_sources([path])
    return listen(tokenizer, Wanted(**wanted), Job(found))


def channel_of(tokenizer, path, **wanted):
    (heard,) = heard_of(tokenizer, path, **wanted).heard
    return heard


def each(sources):
    return list(sources.each(lambda listened: listened, lambda _: lambda *_: None))


def tokenized(tokenizer, sources, out, **options):
    tokenize_files(tokenizer, sources, TokenizeOptions(**options), out=out, listener=SILENT)
    return out


@pytest.mark.parametrize("rate", [RATE // 2, 3 * RATE, 11_025])
def test_peaks_are_those_of_the_samples_as_recorded(tokenizer, tmp_path, rate):
    """A click of one sample is above the band of the tokenizer, and resampling would weaken it."""
    samples = 0.1 * np.random.default_rng(3).uniform(-1, 1, 3 * rate)
    samples[[rate // 3, 2 * rate + 1]] = 0.9, -0.7
    soundfile.write(tmp_path / "x.wav", samples, rate, "FLOAT")
    heard = channel_of(tokenizer, tmp_path / "x.wav")
    width = rate * float(heard.column_s)
    peaks = heard.cells.peaks
    for column in range(int(len(samples) / width)):
        first, end = int(np.ceil(column * width)), int(np.ceil((column + 1) * width))
        largest = np.abs(samples[first:end]).max()
        assert peaks[column] == pytest.approx(20 * np.log10(largest), abs=0.07)
    assert len(peaks) == len(heard.cells.means)


def test_levels_are_those_of_the_spectrogram(tokenizer, recording):
    heard = channel_of(tokenizer, recording, channels="0", bins=8)
    frontend = build_frontend(tokenizer.prep)
    power = np.concatenate(list(stream_power(frontend, [sound(9001)])), axis=1)
    stride = tokenizer.manifest.model.time_stride
    (part,) = heard.parts
    columns = -(-power.shape[1] // stride)
    assert part.cells.means.shape == (columns, len(power) // 8)
    assert part.cells.peaks.shape == (columns,)
    width = stride * HOP
    for column in (0, 7, columns - 1):
        largest = np.abs(sound(9001)[column * width : (column + 1) * width]).max()
        assert part.cells.peaks[column] == pytest.approx(20 * np.log10(largest), abs=0.07)
        for cell in range(part.cells.means.shape[1]):
            box = power[8 * cell : 8 * cell + 8, stride * column : stride * (column + 1)]
            expected = 10 * np.log10(box.mean())
            assert part.cells.means[column, cell] == pytest.approx(expected, abs=0.07)


def test_ids_are_those_of_the_tokenizer_and_times_those_of_the_recording(tokenizer, recording):
    tokens = tokenizer.encode(recording)
    heard = channel_of(tokenizer, recording)
    np.testing.assert_array_equal(heard.ids, tokens.ids)
    assert heard.column_s == tokens.seconds[1]
    assert heard.when(3, 5).start_s == pytest.approx(tokens.seconds[3])
    assert heard.when(3, 5).end_s == pytest.approx(tokens.seconds[5])
    assert heard.when(0, len(tokens.ids)).end_s == 9001 / RATE
    assert str(heard.when(0, 1).start_utc) == "2026-03-01 05:30:00+00:00"
    assert (heard.file_s, heard.channel, heard.begins) == (9001 / RATE, None, [0])
    assert len(channel_of(tokenizer, recording, ids=False).ids) == 0


@pytest.mark.parametrize(
    ("frontend", "mode", "plan"),
    [
        *((frontend, "corpus", "divides") for frontend in FRONTENDS),
        *(("stft", mode, "divides") for mode in MODES),
        *(("stft", "corpus", plan) for plan in PLANS),
    ],
)
@pytest.mark.filterwarnings("ignore:over a third of the sound")
def test_every_kind_of_tokenizer_hears(frontend, mode, plan, tokenizer_of, recording):
    if frontend == "wpt":
        pytest.importorskip("pywt")
    tokenizer = tokenizer_of(frontend, mode, plan)
    bins = tokenizer.manifest.model.frequency_stride
    heard = channel_of(tokenizer, recording, bins=bins)
    tokens = tokenizer.encode(recording)
    np.testing.assert_array_equal(heard.ids, tokens.ids)
    assert heard.cells.means.shape == tokens.ids.shape
    assert heard.cells.peaks.shape == tokens.ids.shape[:1]
    np.testing.assert_allclose(heard.edges_hz, tokens.edges_hz)
    assert heard.latents is None
    full = channel_of(tokenizer, recording, bins=bins, latents=True)
    np.testing.assert_array_equal(full.ids, tokens.ids)
    size = tokenizer.manifest.model.embedding_dim
    assert full.latents.shape == (len(tokens.ids), tokens.ids.shape[1] * size)
    latents = full.latents.reshape(*tokens.ids.shape, size).astype(np.float64)
    squares = np.square(latents - tokenizer.codebook[tokens.ids]).sum(axis=-1)
    np.testing.assert_allclose(squares, tokens.distances, atol=0.02)
    quiet = channel_of(tokenizer, recording, bins=bins, ids=False)
    np.testing.assert_array_equal(quiet.cells.means, heard.cells.means)
    assert quiet.parts[0].seconds == heard.parts[0].seconds


def test_each_channel_is_heard(tokenizer, recording):
    first, second = heard_of(tokenizer, recording, channels="each").heard
    assert (first.channel, second.channel) == (0, 1)
    difference = first.cells.means.astype(float) - second.cells.means
    assert difference.mean() == pytest.approx(6.02, abs=0.01)


def test_how_the_sound_is_cut_changes_no_level(tokenizer):
    samples = sound(9001)
    found = []
    for cuts in ([], [1, 2, 700, 701, 8999], range(0, 9001, 97)):
        levels = CellLevels(build_frontend(tokenizer.prep), tokenizer.prep, bins=8, frames=4)
        frontend = build_frontend(tokenizer.prep)
        blocks = levels.resample(np.split(samples, list(cuts)), RATE, RATE)
        for _ in levels.power(stream_power(frontend, blocks)):
            pass
        found.append(levels.take())
    for other in found[1:]:
        np.testing.assert_array_equal(other.means, found[0].means)
        np.testing.assert_array_equal(other.peaks, found[0].peaks)


def test_cells_above_the_recordings_own_rate_are_silent(tokenizer, tmp_path):
    soundfile.write(tmp_path / "x.wav", sound(4000), RATE // 2)
    heard = channel_of(tokenizer, tmp_path / "x.wav")
    above = heard.edges_hz[:-1] >= RATE / 4
    assert above.any()
    assert (heard.cells.means[:, above] == SILENCE_DB).all()
    assert (heard.cells.means[:, ~above] > SILENCE_DB).any()


def test_no_parts_are_no_cells():
    assert Cells.joined([], 3).means.shape == (0, 3)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty_file"), (b"dear diary", "not_audio")])
def test_a_bad_recording_is_refused(content, reason, tokenizer, tmp_path):
    (tmp_path / "x.wav").write_bytes(content)
    listened = heard_of(tokenizer, tmp_path / "x.wav")
    assert (listened.facts["status"], listened.facts["reason"]) == ("refused", reason)
    assert listened.heard == ()


@pytest.mark.parametrize(
    "options", [{}, {"channels": "each"}, {"file_format": "parquet"}, {"file_format": "csv"}]
)
def test_stored_tokens_are_taken_and_not_made(options, tokenizer, recording, tmp_path, monkeypatch):
    out = tokenized(tokenizer, [recording.parent], tmp_path / "out", **options)
    wanted = Wanted(channels=options.get("channels", "mix"))
    (expected,) = each(Sources.of(tokenizer, [recording.parent], wanted))
    monkeypatch.setattr(type(tokenizer), "stretches", None)
    found = each(Sources.of(tokenizer, [recording.parent], wanted, tokens=out))
    channels = [heard for listened in found for heard in listened.heard]
    assert len(channels) == len(expected.heard)
    for heard, other in zip(channels, expected.heard, strict=True):
        assert heard.channel == other.channel
        np.testing.assert_array_equal(heard.ids, other.ids)
        np.testing.assert_array_equal(heard.cells.means, other.cells.means)


def test_a_recording_that_changed_since_is_refused(tokenizer, recording, tmp_path):
    out = tokenized(tokenizer, [recording.parent], tmp_path / "out")
    other = recording.with_name("other.wav")
    soundfile.write(other, sound(500), RATE)
    soundfile.write(recording, np.stack([sound(9001)] * 2, axis=1) * 0.9, RATE, "FLOAT")
    found = each(Sources.of(tokenizer, [recording.parent], Wanted(), tokens=out))
    reasons = {each.facts["path"]: (each.facts["reason"], each.facts["detail"]) for each in found}
    assert reasons == {
        recording.name: (
            "changed",
            "it is not as it was when it was tokenized: tokenize it again",
        ),
        "other.wav": ("no_tokens", f"{out} has no tokens of it: tokenize it"),
    }


def test_tokens_beside_a_recording_of_another_length_are_refused(tokenizer, recording):
    tokenized(tokenizer, [recording], None)
    soundfile.write(recording, np.stack([sound(7000)] * 2, axis=1), RATE, "FLOAT")
    folder = recording.parent
    sources = Sources.of(tokenizer, [recording], Wanted(), tokens=folder)
    (found,) = each(sources)
    assert found.facts["reason"] == "changed"


def test_tokens_of_another_tokenizer_are_refused_in_one_line(
    tokenizer, tokenizer_of, recording, tmp_path
):
    out = tokenized(tokenizer_of(frontend="mel"), [recording.parent], tmp_path / "out")
    sources = Sources.of(tokenizer, [recording.parent], Wanted(), tokens=out)
    with pytest.raises(UserError, match=r"^the tokens of .* are of another tokenizer \(.{8} there"):
        each(sources)
    with pytest.raises(UserError, match=rf"is a folder of tokens: .* with --tokens {out}$"):
        Sources.of(tokenizer, [out], Wanted())


def test_tokens_of_another_time_expansion_and_of_a_timeline_are_refused(
    tokenizer, recording, tmp_path
):
    out = tokenized(tokenizer.with_sound(time_expansion=2), [recording.parent], tmp_path / "out")
    sources = Sources.of(tokenizer, [recording.parent], Wanted(), tokens=out)
    with pytest.raises(UserError, match="were made with --time-expansion 2: give it here, too"):
        each(sources)
    soundfile.write(recording.with_name("20260301_053010.wav"), sound(4000), RATE)
    line = tmp_path / "line.tokens.npy"
    options = TokenizeOptions()
    tokenize_timeline(tokenizer, [recording.parent], options, out=line, listener=SILENT)
    sources = Sources.of(tokenizer, [recording.parent], Wanted(), tokens=line)
    with pytest.raises(UserError, match="holds a timeline of several recordings"):
        each(sources)


def test_two_recordings_of_one_name_have_no_tokens_to_choose_from(tokenizer, recording, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / recording.name).write_bytes(recording.read_bytes())
    out = tokenized(tokenizer, [recording.parent], tmp_path / "out")
    sources = Sources.of(tokenizer, [recording.parent, other], Wanted(), tokens=out)
    with pytest.raises(UserError, match="have one name below their folders"):
        each(sources)


def test_results_come_in_the_order_of_recordings_whatever_the_workers(tokenizer_of, tmp_path):
    tokenizer = tokenizer_of()
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", sound(9000 - 2000 * number + 1000), RATE)
    paths = [
        [listened.facts["path"] for listened in sources.each(_same, lambda _: lambda *_: None)]
        for workers in (1, 2)
        for sources in [Sources.of(tokenizer, [tmp_path], Wanted(), spread=Spread(workers))]
    ]
    assert paths[0] == paths[1] == [f"{number}.wav" for number in range(5)]


def _same(listened):
    return listened


@pytest.mark.parametrize("stored", [False, True])
def test_time_that_was_left_out_stands_between_parts(stored, tokenizer, tmp_path):
    """A trigger: the second part begins later in time, and behind the marker in the file."""
    path = tmp_path / "field" / "20230501_120000T.WAV"
    (_, first), (samples, second) = write_triggered(path, sound(1500), 40, sound(900), rate=RATE)
    tokens = tokenized(tokenizer, [path.parent], tmp_path / "out") if stored else None
    (listened,) = each(Sources.of(tokenizer, [path.parent], Wanted(), tokens=tokens))
    (heard,) = listened.heard
    assert [part.start_s for part in heard.parts] == [first / RATE, second / RATE]
    assert [part.offset_s for part in heard.parts] == [0.0, (1500 + 256) / RATE]
    ids = tokenizer.encode(path).ids
    begin = heard.begins[1]
    late = round(second / RATE / heard.column_s)
    np.testing.assert_array_equal(heard.ids[:begin], ids[:begin])
    np.testing.assert_array_equal(heard.ids[begin:], ids[late:])
    when = heard.when(begin, len(heard.ids))
    assert (when.start_s, when.end_s) == (second / RATE, (second + len(samples)) / RATE)
    assert when.offset_s == (1500 + 256) / RATE


def test_a_very_long_name_is_not_repeated_in_each_row(tokenizer, tmp_path):
    folder = tmp_path
    for _ in range(6):
        folder = folder / ("x" * 200)
    folder.mkdir(parents=True)
    with (folder / "x.wav").open("wb") as file:
        soundfile.write(file, sound(4000), RATE, format="WAV")
    (found,) = each(Sources.of(tokenizer, [tmp_path], Wanted()))
    assert found.facts["reason"] == "unwritable"
    assert "its name has 1211 characters" in found.facts["detail"]
    (found,) = Sources.of(tokenizer, [folder], Wanted()).jobs()
    assert found.refused is None
