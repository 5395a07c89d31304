"""What settings cost, beside what is measured; and what costs too much is refused."""

import json
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from tests.bundles import WEIGHTS, write_small_bundle
from ulmo.bundle.cost import check_tokenizer, most_windows, tokenizer_cost
from ulmo.bundle.graph import decoder_graph, encoder_graph
from ulmo.bundle.weights import blank_weights
from ulmo.cli.main import ulmo
from ulmo.config import (
    LIMITS,
    AugmentSettings,
    Cost,
    Limits,
    ModelSettings,
    PrepSettings,
    UserError,
    decoder_cost,
    encoder_cost,
    training_cost,
)
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.show.show import show
from ulmo.pipelines.train.run_settings import plan_run
from ulmo.preprocessing import preprocess
from ulmo.preprocessing.frontends import FRONTENDS, build_frontend, frontend_cost, stream_power
from ulmo.preprocessing.reading.audio import BLOCK_SAMPLES, resample
from ulmo.preprocessing.spectrogram import sound_cost
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import load_tokenizer

SAMPLES = Path(__file__).parents[1] / "data_samples"
CLEAR = Path("/proc/self/clear_refs")
SCORES = {"frequency_stride": 1, "time_stride": 1, "codebook_size": 65_472, "embedding_dim": 2}
FINE = PrepSettings(frontend="stft", tile_size=2048, sample_rate=4_000_000, hop_length=1)
WIDE = PrepSettings(frontend="stft", tile_size=2048)
LAYERS = {
    "default": {},
    "shipped": {"frequency_stride": 56, "time_stride": 4, "width": 64},
    "ragged": {"tile_size": 100, "frequency_stride": 16, "time_stride": 8, "decoder_layers": 5},
    "one layer": {"encoder_layers": 1, "decoder_layers": 1, "frequency_stride": 56},
    "full rate": {"encoder_layers": 8, "frequency_stride": 4, "time_stride": 1, "width": 32},
}


# What is refused


@pytest.mark.parametrize(
    ("prep", "model", "text"),
    [
        (WIDE, {**SCORES, "width": 2}, r"\d+ GB memory at once \(codebook: .*--max-gigabytes"),
        (FINE, {}, r"[\d,]+ billion operations a second of sound \(.*--max-gigaops"),
    ],
)
def test_a_bundle_is_refused_before_its_weights_are_read(prep, model, text, tmp_path):
    """Each of its settings is within its bounds, and no file is large."""
    folder = write_small_bundle(tmp_path / "tokenizer", prep, **model)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    with pytest.raises(UserError, match=text) as refused:
        load_tokenizer(folder)
    assert str(refused.value).startswith(str(folder))
    assert str(refused.value).isprintable()
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=text):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    "settings",
    [
        FINE,
        PrepSettings(frontend="wpt", tile_size=2048, hop_length=1),
        PrepSettings(frontend="stft", tile_size=8, n_fft=1 << 17, hop_length=1, sample_rate=10**6),
        PrepSettings(frontend="cwt", tile_size=2048, fmin=0.1, hop_length=4000, sample_rate=48_000),
        PrepSettings(
            time_expansion=1000,
            sample_rate=4000,
            hop_length=1,
            tile_size=512,
            normalization="pcen",
        ),
    ],
)
def test_settings_are_refused_before_a_recording_is_opened(settings, tmp_path):
    with pytest.raises(UserError, match="over the limit of"):
        prepare(SAMPLES, tmp_path / "tiles", settings)
    with pytest.raises(UserError, match="over the limit of"):
        show(SAMPLES / "whistles.wav", tmp_path / "x.png", [settings.frontend], settings)
    with pytest.raises(UserError, match="over the limit of"):
        preprocess(np.zeros(100, np.float32), sample_rate=16000, settings=settings)
    assert not list(tmp_path.iterdir())


def test_views_count(tmp_path):
    """64 views cost 64 times as much, and each may have a tenth of the hop."""
    settings = PrepSettings(frontend="stft", sample_rate=500_000, hop_length=32, tile_size=512)
    augment = AugmentSettings(views=64, hop_factors=(0.1, 1.0))
    with pytest.raises(UserError, match="set fewer views"):
        prepare(SAMPLES, tmp_path / "tiles", settings, augment=augment)


@pytest.mark.parametrize(
    ("model", "train"),
    [({}, {"batch_size": 4096}), (SCORES, {}), ({"width": 512}, {"batch_size": 512})],
)
def test_a_training_is_refused_before_it_begins(model, train, tiny_tiles, tmp_path):
    store = TileStore(tiny_tiles)
    few = Limits(max_gigabytes=0.5)
    with pytest.raises(UserError, match=r"GB memory at once \((layers|codebook|weights)"):
        plan_run(tmp_path / "run", tiny_tiles, store, model, train, resume=False, limits=few)
    plan_run(tmp_path / "run", tiny_tiles, store, {}, {}, resume=False, limits=few)


def test_an_option_raises_the_limits(tmp_path):
    prep = PrepSettings(frontend="stft", tile_size=32, sample_rate=2000, hop_length=20)
    folder = write_small_bundle(tmp_path / "tokenizer", prep)
    with pytest.raises(UserError, match=r"over the limit of 0\.001"):
        load_tokenizer(folder, max_gigabytes=0.001)
    with pytest.raises(UserError, match="over the limit of 1e-06"):
        load_tokenizer(folder, max_gigaops=1e-6)
    with pytest.raises(UserError, match="max_gigaops = 0: it must be above 0"):
        load_tokenizer(folder, max_gigaops=0)
    raised = load_tokenizer(folder, max_gigabytes=99, max_gigaops=999)
    assert raised.ref.open().limits == Limits(max_gigabytes=99, max_gigaops=999)


def test_the_commands_have_the_options():
    for name in ("prep", "train", "tokenize", "eval", "show", "inspect"):
        options = {option for each in ulmo.commands[name].params for option in each.opts}
        assert {"--max-gigabytes", "--max-gigaops"} <= options
    done = CliRunner().invoke(ulmo, ["inspect", "--max-gigabytes", "0.001"])
    assert done.exit_code == 2
    assert "over the limit of 0.001: " in done.stderr
    done = CliRunner().invoke(ulmo, ["inspect", "--max-gigabytes", "0"])
    assert "--max-gigabytes = 0.0: it must be above 0" in done.stderr
    done = CliRunner().invoke(ulmo, ["inspect", "--max-gigabytes", "9"])
    assert "billion operations for a second of sound" in " ".join(done.stdout.split())


def test_a_batch_is_refused_that_does_not_fit(tmp_path):
    prep = PrepSettings(frontend="stft", tile_size=32, sample_rate=2000, hop_length=20)
    folder = write_small_bundle(tmp_path / "tokenizer", prep)
    tokenizer = load_tokenizer(folder, max_gigabytes=0.1)
    samples = np.zeros(20_000, np.float32)
    with pytest.raises(UserError, match=r"set a batch_size of at most \d+, or raise"):
        tokenizer.encode(samples, sample_rate=2000, batch_size=1024)
    with pytest.raises(UserError, match=r"over the limit of 0\.0003"):
        load_tokenizer(folder, max_gigaops=0.0003).with_sound(time_expansion=1000)


def test_many_threads_wait_for_memory(tmp_path):
    """A window's worth of memory computes one after the other: the same ids."""
    prep = PrepSettings(frontend="stft", tile_size=32, sample_rate=2000, hop_length=20)
    folder = write_small_bundle(tmp_path / "tokenizer", prep)
    model = load_tokenizer(folder).manifest.model
    one = tokenizer_cost(prep, model).bytes / 1e9 + 1e-9
    assert most_windows(prep, model, Limits(max_gigabytes=one)) == 1
    narrow = load_tokenizer(folder, threads=8, max_gigabytes=one)
    samples = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    expected = load_tokenizer(folder, threads=8).encode(samples, sample_rate=2000)
    found = narrow.encode(samples, sample_rate=2000)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(narrow.decode(found), load_tokenizer(folder).decode(found))


# What passes


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize(("rate", "size"), [(8000, 64), (16000, 224), (192_000, 512)])
def test_ordinary_settings_pass_by_far(name, rate, size):
    prep = PrepSettings(frontend=name, sample_rate=rate, tile_size=size, hop_length=size // 32 * 32)
    model = ModelSettings(tile_size=size, time_stride=8, frequency_stride=8)
    cost = tokenizer_cost(prep, model) + Cost({}, {})
    assert cost.bytes < LIMITS.bytes / 10
    assert cost.operations_per_second < LIMITS.max_gigaops * 1e9 / 10
    assert training_cost(model, batch=16, columns=model.columns).bytes < LIMITS.bytes / 2


def test_the_defaults_pass_by_far():
    prep, model = PrepSettings(), ModelSettings()
    check_tokenizer(prep, model, Limits(max_gigabytes=LIMITS.max_gigabytes / 50, max_gigaops=5))
    training_cost(model, batch=16, columns=model.columns).check(
        Limits(max_gigabytes=LIMITS.max_gigabytes / 20)
    )


# Beside what is measured


@pytest.mark.parametrize("plan", LAYERS)
def test_the_operations_are_those_of_the_graph(plan):
    """Counted once more from the shapes that onnx infers for each operator of the graphs."""
    model = ModelSettings(**LAYERS[plan])
    columns = 6
    frames = columns * model.time_stride
    fps = float(frames)  # as many frames a second as a window keeps
    encoder = encoder_cost(model, frames=frames, kept=columns, frames_per_second=fps).operations
    decoder = decoder_cost(model, columns=columns, kept=columns, frames_per_second=fps).operations
    counted = multiplications(encoder_graph(model, blank_weights(model)), "frames", frames)
    assert counted["Conv"] <= encoder["encoder"] <= 1.2 * counted["Conv"]
    assert counted["MatMul"] <= encoder["codebook"] <= 1.5 * counted["MatMul"]
    counted = multiplications(decoder_graph(model, blank_weights(model)), "columns", columns)
    layers = counted["Conv"] + counted["ConvTranspose"]
    assert layers <= decoder["decoder"] <= 1.5 * layers + 1e6


def multiplications(graph, axis, length):
    """Multiplications of each kind of operator, for a batch of one."""
    loaded = onnx.load_from_string(graph.to_bytes())
    for value in loaded.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = length if dimension.dim_param == axis else 1
    del loaded.graph.output[:]
    inferred = onnx.shape_inference.infer_shapes(loaded, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info):
        shapes[value.name] = [each.dim_value for each in value.type.tensor_type.shape.dim]
    counted = dict.fromkeys(("Conv", "ConvTranspose", "MatMul"), 0)
    for node in inferred.node:
        if node.op_type in counted:
            inside, weights, out = (shapes[n] for n in (*node.input[:2], node.output[0]))
            cells = {
                "Conv": out[2:], "ConvTranspose": inside[2:], "MatMul": inside[:-1]
            }[node.op_type]  # fmt: skip
            counted[node.op_type] += int(np.prod(cells) * np.prod(weights))
    return counted


SMALL = {"tile_size": 64, "hop_length": 64}
SETTINGS = {
    "stft": {"tile_size": 512, "hop_length": 64},
    "mel": {"tile_size": 128, "sample_rate": 96_000},
    "cqt": {"hop_length": 40},
    "cwt": {"tile_size": 512, "hop_length": 40},
    "dwt": {"hop_length": 8},
    "wpt": {"tile_size": 64, "hop_length": 64},
}


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("is_special", [False, True])
def test_a_front_end_takes_no_more_memory(name, is_special):
    """Nor much less: what NumPy and OpenCV allocate at most, while it is built and runs."""
    settings = PrepSettings(frontend=name, **(SETTINGS[name] if is_special else SMALL))
    frontend = build_frontend(settings)  # what is imported and kept for all is not counted
    samples = frontend.left + frontend.right + 2 * frontend.block_frames * settings.hop_length
    blocks = np.array_split(np.zeros(samples, np.float32), 4)
    tracemalloc.start()
    try:
        kind = FRONTENDS[name](settings)
        for block in stream_power(kind, blocks):
            del block
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most <= frontend_cost(settings).bytes <= 9 * most


@pytest.mark.skipif(not CLEAR.exists(), reason="the system does not measure memory")
def test_a_window_takes_no_more_memory():
    """What a process grows by at most, while ONNX Runtime encodes a window."""
    done = subprocess.run(
        [sys.executable, "-c", WINDOW], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    for grown, estimate in json.loads(done.stdout):
        assert grown <= estimate <= 4 * grown


WINDOW = """
import json, numpy as np
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.session import Session
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings
from ulmo.encoding import encoding_cost, window_columns

def status(name):
    lines = open("/proc/self/status")
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

def measured(session, name, values):
    session.run(None, {name: values[:, :, :4] if values.ndim == 4 else values[:, :1]})
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    session.run(None, {name: values})
    return status("VmHWM") - before

rng, found = np.random.default_rng(0), []
for options in ({"codebook_size": 8192}, {"width": 16, "time_stride": 1, "frequency_stride": 4}):
    model = ModelSettings(**{"tile_size": 256, "time_stride": 4, "frequency_stride": 4, **options})
    weights = {name: rng.normal(0, 0.1, s).astype("f4") for name, s in weight_shapes(model).items()}
    before, after = (-(-n // model.time_stride) for n in model.time_context)
    columns = window_columns(model, any_width=True)
    frames = (before + columns + after) * model.time_stride
    tiles = rng.normal(0, 1, (1, 256, frames, 1)).astype("f4")
    cost = encoding_cost(model, 100)
    grown = measured(Session(encoder_graph(model, weights).to_bytes()), "tiles", tiles)
    found.append((grown + 1, cost.bytes - cost.memory["weights"]))
print(json.dumps(found))
"""


def test_resampling_takes_little_memory():
    """A block becomes 65 million samples, but not at once: from 100 Hz to 4 MHz, billions.

    soxr itself computes groups of its input, and returns what it makes of one at once.
    """
    parts = resample([np.ones(1 << 14, np.float32)], 100, 400_000)
    assert all(len(part) <= 4 * BLOCK_SAMPLES for part in islice(parts, 8))


def test_resampling_in_parts_changes_no_bit():
    samples = np.random.default_rng(0).normal(0, 0.1, 200).astype(np.float32)
    whole = np.concatenate(list(resample([samples], 100, 1_000_000)))
    parts = np.concatenate(list(resample(np.array_split(samples, 7), 100, 1_000_000)))
    assert len(whole) == 200 * 10_000
    np.testing.assert_array_equal(whole, parts)


def test_extreme_settings_cost_no_time_to_judge():
    """Every front end, at both ends of every setting that is a number: arithmetic or a refusal."""
    for name in FRONTENDS:
        for size, hop, rate in ((8, 1, 100), (2048, 1, 4_000_000), (2048, 10**6, 4_000_000)):
            try:
                cost = sound_cost(
                    PrepSettings(frontend=name, tile_size=size, hop_length=hop, sample_rate=rate)
                )
            except UserError:
                continue
            assert cost.bytes > 0
            assert cost.operations_per_second > 0
