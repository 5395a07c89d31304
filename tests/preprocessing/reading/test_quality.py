from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.preprocessing.reading.quality import FLAGS, Quality, in_order

SOUND = np.random.default_rng(3).normal(0, 0.1, (3000, 2)).astype(np.float32)


def flags(samples, cuts=(), non_finite=0):
    quality = Quality(samples.shape[1])
    peaks = [quality.add(block) for block in np.split(samples, sorted(cuts)) if len(block)]
    assert max(peaks) == np.abs(samples).max()
    return quality.flags(non_finite)


def with_values(start, *values, channel=1):
    samples = SOUND.copy()
    samples[start : start + len(values), channel] = values
    return samples


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (SOUND, ()),
        (with_values(9, 1.0001), ("over_full_scale",)),
        (with_values(9, -1.0001), ("over_full_scale",)),
        (with_values(9, 1, -1), ()),
        (with_values(9, 1, 1, 1), ("clipped",)),
        (with_values(9, -1, -1, -1), ("clipped",)),
        (with_values(9, 0.99, 0.99, 0.99), ("clipped",)),
        (with_values(9, 0.98, 0.98, 0.98), ()),
        (with_values(9, 1, 1, -1, -1, 1), ()),
        (with_values(9, 1, 1, 0.995, 1), ()),
        (with_values(2997, 1, 1, 1), ("clipped",)),
        (with_values(0, 2, 2, 2), ("over_full_scale", "clipped")),
        (with_values(9, 31, -31), ("over_full_scale",)),
        (with_values(9, -32, 32), ("over_full_scale", "unscaled")),
        (SOUND + np.float32([0, 0.02]), ("dc_offset",)),
        (SOUND - np.float32([0.02, 0]), ("dc_offset",)),
        (SOUND + np.float32([0.003, 0.003]), ()),
        (SOUND * np.float32([0, 1]), ("dead_channel",)),
        (SOUND * np.float32([0, 1]) + np.float32([0.5, 0]), ("dc_offset", "dead_channel")),
        (SOUND * 0, ("silent",)),
        (SOUND[:, :1] * 0, ("silent",)),
        (SOUND[:1] * 0 + 0.001, ("silent",)),
    ],
)
def test_flags(samples, expected):
    assert flags(samples) == expected


def test_the_order_is_that_of_the_table():
    samples = with_values(0, 2, 2, 2) + np.float32(0.02)
    samples[:, 0] = 0
    assert flags(samples, non_finite=1) == tuple(FLAGS)[:5]
    assert in_order(["silent"], ["nonfinite", "silent"]) == ("nonfinite", "silent")
    assert Quality(3).flags(0) == ()


@given(
    cuts=st.lists(st.integers(0, 40), max_size=12),
    values=st.lists(st.sampled_from([0, 0.5, 0.99, 1, -1, 1.5]), min_size=40, max_size=40),
)
def test_it_does_not_matter_where_the_blocks_are_cut(cuts, values):
    samples = np.array(values, np.float32).reshape(20, 2)
    assert flags(samples, [cut // 2 for cut in cuts]) == flags(samples)


def test_the_page_has_every_flag():
    page = (Path(__file__).parents[3] / "docs" / "recordings.md").read_text()
    for flag, meaning in FLAGS.items():
        assert f"| `{flag}` | {meaning} |" in page
