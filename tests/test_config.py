import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ulmo.config import (
    AugmentSettings,
    ClockSettings,
    Config,
    ModelSettings,
    PrepSettings,
    TrainSettings,
    UserError,
    read_toml,
    to_toml,
)
from ulmo.config.network import encoder_layers
from ulmo.config.strides import spread_factors, spread_stride
from ulmo.storage.sealed import canonical_json, fingerprint

GROUPS = {
    "prep": PrepSettings,
    "augment": AugmentSettings,
    "clock": ClockSettings,
    "model": ModelSettings,
    "train": TrainSettings,
}

BOUNDS = {
    PrepSettings: {
        "time_expansion": ((0.001, 1000.0, 0.1), (0.0009, 1001.0, -10.0, 0)),
        "full_scale": ((1e-12, 1e12), (0.0, -1.0, 1.1e12)),
        "sample_rate": ((100, 4_000_000), (99, 4_000_001)),
        "tile_size": ((8, 2048), (7, 2049, 0)),
        "hop_length": ((1, 1_000_000), (0, 1_000_001)),
        "n_fft": ((16, 1 << 17, None), (15, (1 << 17) + 1)),
        "win_length": ((2, 1 << 17, None), (1, (1 << 17) + 1)),
        "fmin": ((0.0, 2e6, None), (-0.1, 2.1e6)),
        "fmax": ((0.1, 2e6, None), (0.0, 2.1e6)),
        "bins_per_octave": ((1, 512, None), (0, 513)),
        "floor_db": ((-300.0, -20.0), (-300.1, -19.9)),
        "overlap": ((0, 223), (-1,)),
        "frontend": (("mel", "another_1"), ("", "Mel", "../mel", "mel\n")),
        "normalization": (("corpus", "recording", "tile", "pcen", "level"), ("", "none")),
        "pcen_gain": ((0.0, 1.0), (-0.1, 1.1)),
        "pcen_bias": ((0.0, 1e6), (-0.1, 1.1e6)),
        "pcen_power": ((1e-6, 1.0), (0.0, 1.1)),
        "pcen_time_constant": ((1e-6, 3600.0), (0.0, 3600.1)),
        "level_release_db": ((1e-6, 1000.0), (0.0, 1000.1)),
        "level_range_db": ((20.0, 160.0), (19.9, 160.1)),
        "level_least_db": ((-140.0, 0.0), (-140.1, 0.1)),
        "wavelet": (
            ("haar", "sym8", "coif17", "bior2.2"),
            ("", "Sym8", "8", "db12345", "../sym8", "sym8\n"),
        ),
        "wavelet_level": ((1, 14, None), (0, 15)),
        "channels": (("mix", "each", "0", "9999"), ("", "-1", "12345", "left", "mix ")),
    },
    AugmentSettings: {
        "views": ((1, 64), (0, 65)),
        "view_seed": ((0, 2**31 - 1), (-1, 2**31)),
        "rate_spread": ((0.0, 0.5), (-0.1, 0.51)),
        "hop_factors": (((0.1,), (10.0,) * 8), ((), (1.0,) * 9)),
        "window_factors": (((0.1,), (10.0,) * 8), ((), (1.0,) * 9)),
        "gain_spread_db": ((0.0, 60.0), (-0.1, 60.1)),
        "noise_db": ((-200.0, 0.0), (-200.1, 0.1)),
        "time_mask": ((0.0, 0.9), (-0.1, 0.91)),
        "frequency_mask": ((0.0, 0.9), (-0.1, 0.91)),
    },
    ClockSettings: {
        "timestamp_pattern": (("%Y%m%d", "x" * 200, None), ("", "x" * 201)),
        "timezone": (("UTC", "+02:00", "x" * 64), ("", "x" * 65)),
    },
    ModelSettings: {
        "tile_size": ((8, 2048), (7, 2049, 0)),
        "encoder_layers": ((1, 8), (0, 9)),
        "embedding_dim": ((2, 1024), (1, 1025)),
        "codebook_size": ((2, 65_472), (1, 65_473)),
        "decoder_layers": ((1, 8), (0, 9)),
        "ema_coeff": ((0.0, 0.9999), (1.0, 1.5, -0.01)),
        "commitment_cost": ((0.0, 100.0), (-0.1, 100.1)),
        "balance": ((0.0, 10.0), (-0.1, 10.1)),
        "quantizer": (("ema", "gradient", "kmeans", "residual"), ("", "EMA", "vq")),
        "distance": (("euclidean", "cosine"), ("", "manhattan")),
        "gradient": (("straight_through", "rotation"), ("", "copy")),
        "fsq_levels": (((8, 8, 8), (2, 2, 128), None), ((), (2,) * 17)),
        "stage_sizes": (((32, 16), (2,) * 9, (512,), None), ((), (2,) * 17)),
        "width": ((2, 2048), (1, 2049)),
        "frequency_stride": ((1, 512), (0, 513)),
        "time_stride": ((1, 512), (0, 513)),
    },
    TrainSettings: {
        "batch_size": ((1, 4096), (0, 4097)),
        "epochs": ((1, 1_000_000), (0, 1_000_001)),
        "max_minutes": ((1e-6, None), (0.0, -1.0)),
        "objective": (
            ("reconstruct", "denoise", "reconstruct=1,simclr=0.5", "byol=2"),
            ("", "simCLR", "byol=0", "byol=-1", "byol=nan", "byol,byol", "reconstruction"),
        ),
        "init": (("run", None), ("", "x" * 4097)),
        "beside": (((), ("tiles",) * 16), (("tiles",) * 17,)),
        "pairs": (("pairs.csv", None), ("", "x" * 4097)),
        "pair_share": ((0.0, 1.0), (-0.1, 1.1)),
        "crop_frames": ((1, 4096, None), (0, 1.5)),
        "warp_spread": ((0.0, 0.5), (-0.1, 0.6)),
        "tilt_db": ((0.0, 24.0), (-0.1, 24.1)),
        "silence_weight": ((0.0, 1.0), (-0.1, 1.1)),
        "final_learning_rate": ((0.0, 1.0), (-0.1, 1.1)),
        "learning_rate": ((1e-12, 1.0), (0.0, 1.1)),
        "validation_fraction": ((0.0, 0.9), (-0.1, 0.91)),
        "patience": ((1,), (0,)),
        "checkpoint_minutes": ((1e-6,), (0.0,)),
        "mixed_precision": ((True, False), ("perhaps", 2)),
        "seed": ((0, 2**31 - 1), (-1, 2**31)),
        "devices": ((1, 64), (0, 65)),
        "threads": ((0, 1024), (-1, 1025)),
    },
}
BESIDE = {
    (ModelSettings, "tile_size"): {"frequency_stride": 1, "time_stride": 1},
    (ModelSettings, "frequency_stride"): {"tile_size": 2048},
    (ModelSettings, "time_stride"): {"tile_size": 2048},
    (ModelSettings, "fsq_levels"): {"quantizer": "fsq", "embedding_dim": 3},
    (ModelSettings, "stage_sizes"): {"quantizer": "residual"},
    (PrepSettings, "time_expansion"): {"sample_rate": 4000},
    (TrainSettings, "beside"): {"objective": "abx_choice"},
    (TrainSettings, "pairs"): {"objective": "simclr"},
    (TrainSettings, "warp_spread"): {"objective": "simclr"},
    (TrainSettings, "tilt_db"): {"objective": "byol"},
}
"""What must be set with a value at its bound, for the two to fit."""


def cases(settings, side):
    """Names of settings, each with a value at its bound (0) or beyond (1)."""
    return [(name, value) for name, sides in BOUNDS[settings].items() for value in sides[side]]


def complaint(settings, values):
    with pytest.raises(UserError) as caught:
        settings.read(values)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults_are_the_seeds():
    model, prep = ModelSettings(), PrepSettings()
    assert (model.tile_size, model.encoder_layers, model.embedding_dim) == (224, 4, 32)
    assert (model.codebook_size, model.decoder_layers, model.ema_coeff) == (512, 4, 0.99)
    assert (model.frequency_stride, model.time_stride) == (16, 16)
    assert (prep.sample_rate, prep.hop_length, prep.tile_size) == (16000, 160, 224)
    assert prep.tile_size * prep.hop_length / prep.sample_rate == 2.24


@pytest.mark.parametrize("settings", BOUNDS)
def test_every_setting_is_bounded_here(settings):
    assert set(BOUNDS[settings]) == set(settings.model_fields)


@pytest.mark.parametrize("settings", BOUNDS)
def test_a_value_at_its_bound_is_taken(settings):
    for name, value in cases(settings, 0):
        read = settings.read({name: value, **BESIDE.get((settings, name), {})})
        assert getattr(read, name) == value, name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tile_size": 8, "time_stride": 1}, "frequency_stride must be at most tile_size 8"),
        (
            {"tile_size": 8, "frequency_stride": 8, "time_stride": 9},
            "time_stride must be at most tile_size 8",
        ),
        ({"quantizer": "fsq"}, "set embedding_dim to 3"),
        ({"quantizer": "fsq", "fsq_levels": (8, 8)}, "product of fsq_levels must be codebook_size"),
        ({"quantizer": "residual", "stage_sizes": (2,)}, "product of stage_sizes must be"),
        (
            {"quantizer": "fsq", "distance": "cosine"},
            "does not use distance (only ema, gradient, kmeans)",
        ),
        ({"stage_sizes": (32, 16)}, "ema does not use stage_sizes (only residual): leave it out"),
        (
            {"quantizer": "kmeans", "gradient": "rotation"},
            "kmeans does not use gradient (only ema, ",
        ),
        ({"quantizer": "fsq", "fsq_levels": (8, 1)}, "fsq_levels.1 = 1: "),
        (
            {"quantizer": "rim", "distance": "cosine"},
            "rim does not use distance (only ema, gradient, kmeans): leave it out",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(values, words):
    assert words in complaint(ModelSettings, values)


@pytest.mark.parametrize("total", [2, 7, 24, 512, 1000, 65_472])
@pytest.mark.parametrize("most", [2, 8, 32])
def test_factors_are_those_of_the_total(total, most):
    factors = spread_factors(total, most)
    assert math.prod(factors) == total
    assert sorted(factors, reverse=True) == list(factors)
    for factor in factors:
        assert factor <= most or all(factor % divisor for divisor in range(2, factor))


def test_quantizers_of_the_default_codebook():
    fsq = ModelSettings(quantizer="fsq", embedding_dim=3)
    assert (fsq.levels, fsq.stages, fsq.latent_norm) == ((8, 8, 8), (512,), "none")
    assert ModelSettings(quantizer="residual").stages == (32, 16)
    assert ModelSettings(distance="cosine").latent_norm == "sphere"
    assert ModelSettings().latent_norm == "layer"


@pytest.mark.parametrize("settings", BOUNDS)
def test_a_value_beyond_is_refused_by_name(settings):
    for name, value in cases(settings, 1):
        shown = repr(value) + ": " if len(repr(value)) <= 60 else repr(value)[:60]
        assert complaint(settings, {name: value}).startswith(f"{name} = {shown}")


@pytest.mark.parametrize("value", [0.09, 10.1, math.nan, math.inf, "wide"])
@pytest.mark.parametrize("name", ["hop_factors", "window_factors"])
def test_a_factor_beyond_its_bounds_is_refused_by_its_place(name, value):
    text = complaint(AugmentSettings, {name: (1.0, value)})
    assert text.startswith(f"{name}.1 = {value!r}: ")


@pytest.mark.parametrize("settings", BOUNDS)
def test_what_is_no_finite_number_is_refused(settings):
    for name, (inside, _) in BOUNDS[settings].items():
        if not isinstance(inside[0], int | float):
            continue
        for value in (math.nan, math.inf, -math.inf, "loud", [], {}):
            assert complaint(settings, {name: value}).startswith(f"{name} = ")


@pytest.mark.parametrize("settings", BOUNDS)
def test_an_unknown_setting_is_refused(settings):
    assert complaint(settings, {"tile_sise": 3}) == "unknown setting 'tile_sise'"


def test_every_complaint_is_told_at_once():
    text = complaint(PrepSettings, {"hop_length": 0, "hop": 160})
    assert "hop_length = 0: " in text
    assert "; unknown setting 'hop'" in text


@pytest.mark.parametrize("settings", BOUNDS)
def test_settings_are_frozen(settings):
    made = settings()
    name = next(iter(settings.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))


def test_the_file_has_a_table_for_each_group():
    assert {name: type(made) for name, made in Config()} == GROUPS


@pytest.mark.parametrize(
    ("mode", "learned"),
    [("corpus", True), ("pcen", True), ("level", True), ("recording", False), ("tile", False)],
)
def test_which_modes_learn_constants_from_the_corpus(mode, learned):
    assert PrepSettings(normalization=mode).learns_constants is learned


UNUSUAL = {
    "prep": {"frontend": "cqt", "fmin": 32.5, "floor_db": -90, "channels": "each", "n_fft": 512},
    "augment": {"views": 3, "hop_factors": (0.75, 1.5), "window_factors": (0.1 + 0.2,)},
    "model": {"tile_size": 100, "ema_coeff": 0.1 + 0.2, "time_stride": 5},
    "train": {"max_minutes": 1.5, "mixed_precision": True, "learning_rate": 1e-4},
}


@pytest.mark.parametrize("values", [{}, UNUSUAL])
def test_toml_and_json_round_trips(values, tmp_path):
    made = {name: group(**values.get(name, {})) for name, group in GROUPS.items()}
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(made), encoding="utf-8")
    assert Config.read(read_toml(path)) == Config(**made)
    for settings in made.values():
        assert type(settings).model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("part", ["a", '"a"', "'a b'", "a ", "-"])
def test_a_key_of_many_parts_is_refused_before_it_is_read(part, tmp_path):
    """tomllib would take gigabytes for it."""
    path = tmp_path / "settings.toml"
    for line in ("{} = 1", "[{}]", "prep = {{ {} = 1 }}"):
        path.write_text(line.format(".".join([part] * 10_000)))
        with pytest.raises(UserError, match="a key has more than 16 parts"):
            read_toml(path)


def test_reading_toml_leaves_the_defaults_out(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[prep]\noverlap = 12\n[train]\n")
    assert read_toml(path) == {"prep": {"overlap": 12}, "train": {}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[prep\n", "cannot be read as TOML"),
        (b"\xff\xfe", "cannot be read as TOML"),
        (b"x = " + b"[" * 5000, "cannot be read as TOML"),
        (b"x = " + b"1" * 5000, "cannot be read as TOML"),
        (b"[prep]\nhop_length = 0\n", "prep.hop_length = 0: "),
        (b"[prep]\nfmin = nan\n", "prep.fmin = nan: "),
        (b"[prep]\nhop = 160\n", "unknown setting 'prep.hop'"),
        (b"[preparation]\n", "unknown setting 'preparation'"),
        (b"model = 3\n", "model = 3: "),
        (b"[augment]\nhop_factors = 0.8\n", "augment.hop_factors = 0.8: "),
        (b"[augment]\nhop_factors = [1, nan]\n", "augment.hop_factors.1 = nan: "),
        (b"[model]\ntile_size = 8\n", "frequency_stride must be at most"),
    ],
)
def test_a_bad_settings_file_is_refused_in_a_line_that_names_it(content, text, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f"{path}: {text}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_settings_file_that_is_none_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="cannot be read as TOML"):
        read_toml(tmp_path / name)


def test_fingerprint_is_of_the_canonical_json():
    value = {"b": 1, "a": [1.5, None, "é"]}
    text = '{"a":[1.5,null,"\\u00e9"],"b":1}'
    assert canonical_json(value) == text
    assert fingerprint(value) == hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)
    assert fingerprint(json.loads(text)) == fingerprint(value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(math.nan)


@pytest.mark.parametrize(
    ("options", "bands", "columns"),
    [
        ({}, 14, 14),
        ({"tile_size": 100}, 7, 7),
        ({"tile_size": 65, "frequency_stride": 65, "time_stride": 64}, 1, 2),
    ],
)
def test_the_grid_covers_the_tile(options, bands, columns):
    settings = ModelSettings(**options)
    assert (settings.bands, settings.columns) == (bands, columns)


def test_tile_hop_is_what_the_overlap_leaves():
    assert PrepSettings(overlap=200).tile_hop == 24
    text = complaint(PrepSettings, {"tile_size": 64, "overlap": 64})
    assert text == "overlap 64 must be less than tile_size 64"


@given(total=st.integers(1, 512), layers=st.integers(1, 8))
def test_spread_stride_multiplies_to_the_total(total, layers):
    strides = spread_stride(total, layers)
    assert math.prod(strides) == total
    assert len(strides) == layers
    assert list(strides) == sorted(strides, reverse=True)


@given(stride=st.integers(1, 512))
def test_same_padding_leaves_the_length_divided_by_the_stride(stride):
    layer = encoder_layers([(stride, 1)], width=8, embedding_dim=6)[0]
    before, after = layer.padding[0]
    length = 5 * stride
    assert (length + before + after - layer.kernel[0]) // stride + 1 == 5
    assert 0 <= after - before <= 1


def test_a_whole_number_that_python_does_not_write(tmp_path):
    (tmp_path / "ulmo.toml").write_text(f"[prep]\nsample_rate=0x{'f' * 4000}\n")
    with pytest.raises(UserError, match=r"sample_rate = a value that is too long"):
        read_toml(tmp_path / "ulmo.toml")
