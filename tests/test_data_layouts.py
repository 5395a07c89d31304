"""The layouts of TokenDataset: the contract of each, what is packed, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packing import BOS, CODES, EOS, PAD, VOCABULARY, corpus, ids_of, joined
from ulmo.config import UserError
from ulmo.data import LAYOUTS, TokenDataset


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.tokens.csv"


def slow_steps(ids, layout):
    """The steps of a recording, one id at a time."""
    columns, bands = ids.shape
    if layout == "columns":
        return [list(map(int, column)) for column in ids]
    if layout == "flat":
        tokens = [(band, int(ids[time, band])) for time in range(columns) for band in range(bands)]
        return [VOCABULARY.size * band + token for band, token in tokens]
    delayed = [[PAD] * bands for _ in range(columns + bands - 1)]
    for time in range(columns):
        for band in range(bands):
            delayed[time + band][band] = int(ids[time, band])
    return delayed


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bands", [1, 3])
def test_the_contract_of_a_layout(layout, bands):
    kind = LAYOUTS[layout](bands, VOCABULARY)
    assert kind.words
    ids = ids_of(7, bands)
    document = kind.document(ids)
    assert document.shape[1:] == kind.shape
    assert 0 <= document.min() <= document.max() < kind.size
    assert document[1:-1].tolist() == slow_steps(ids, layout)
    assert (document[0] == BOS).all()
    assert (document[-1] == EOS).all()
    assert kind.is_between(document).tolist() == [True, *[False] * (len(document) - 2), True]
    np.testing.assert_array_equal(kind.columns(document[1:-1]), ids)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_does_not_see_the_future(layout):
    """A step does not change if later columns do: what a model learns from is causal."""
    ids, other = ids_of(9), ids_of(9)
    other[5:] = (other[5:] + 1) % CODES
    kind = LAYOUTS[layout](3, VOCABULARY)
    before = 1 + 5 * (3 if layout == "flat" else 1)
    first, second = kind.document(ids), kind.document(other)
    np.testing.assert_array_equal(first[:before], second[:before])
    assert (first[before:] != second[before:]).any()


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    bands=st.integers(1, 4),
    length=st.integers(2, 40),
    data=st.data(),
)
def test_round_trip(layout, lengths, bands, length, data, tmp_path_factory):
    """What was packed comes back, and each step lies where a slow packing puts it."""
    overlap = data.draw(st.integers(0, length - 1))
    path = tmp_path_factory.getbasetemp() / "packed" / "x.tokens.csv"
    path.parent.mkdir(exist_ok=True)
    every = corpus(path, lengths, bands)
    dataset = TokenDataset(path, length=length, layout=layout, part="all", overlap=overlap)
    steps = joined(dataset)
    assert [tokens.ids.tolist() for tokens in dataset.to_tokens(steps)] == [
        ids.tolist() for ids in every
    ]
    kind = dataset.layout
    expected = np.concatenate([kind.document(ids) for ids in every])
    np.testing.assert_array_equal(steps[: len(expected)], expected)
    assert (steps[len(expected) :] == PAD).all()
    assert len(dataset) == 1 or len(steps) - len(expected) < length - overlap
    for item in dataset:
        assert item.shape == (length, *kind.shape)
        assert item.dtype == np.int64
    if overlap:
        for before, after in zip(list(dataset), list(dataset)[1:], strict=False):
            np.testing.assert_array_equal(before[-overlap:], after[:overlap])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_gives_the_whole_columns_in_it(layout, file):
    (ids,) = corpus(file, [40])
    dataset = TokenDataset(file, length=11, layout=layout, part="all", overlap=4)
    starts = []
    for item in dataset:
        for tokens in dataset.to_tokens(item):
            places = [
                place
                for place in range(40)
                if ids[place : place + len(tokens.ids)].tolist() == tokens.ids.tolist()
            ]
            assert places
            starts += places
    whole = {"flat": 3, "delay": 9, "columns": 11}[layout]  # of 11 steps, not at an end
    most = max(len(tokens.ids) for item in dataset for tokens in dataset.to_tokens(item))
    assert whole <= most <= whole + 1
    assert 0 in starts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recordings_are_never_mixed_without_their_borders(layout, file):
    corpus(file, [5, 1, 9, 3])
    dataset = TokenDataset(file, length=6, layout=layout, part="all").shuffled(3)
    # In the order of the recordings: the packing itself, not the order of the items.
    dataset._order = np.arange(len(dataset))
    steps = joined(dataset)
    marks = steps.reshape(len(steps), -1)
    begins = np.flatnonzero((marks == BOS).all(axis=1))
    ends = np.flatnonzero((marks == EOS).all(axis=1))
    assert len(begins) == len(ends) == 4
    assert begins[0] == 0
    np.testing.assert_array_equal(begins[1:], ends[:-1] + 1)
    assert sorted(dataset.recordings) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    lengths = [len(tokens.ids) for tokens in dataset.to_tokens(steps)]
    assert lengths == [{"0": 5, "1": 1, "2": 9, "3": 3}[name[0]] for name in dataset.recordings]


@pytest.mark.parametrize(
    ("layout", "steps", "reason"),
    [
        ("flat", [[1, 2, 3]], r"steps must be whole numbers \(n\), not \(1, 3\)"),
        ("delay", [1, 2, 3], r"steps must be whole numbers \(n, 3\), not \(3,\)"),
        ("flat", [0.5], "steps must be whole numbers from 0 to 191"),
        ("flat", [192], "steps must be whole numbers from 0 to 191"),
        ("columns", [[0, 0, 64]], "from 0 to 63"),
        ("flat", [BOS, 0, 64, 64], "steps 1 to 3 are no tokens: the bands do not follow"),
        ("columns", [[0, 0, PAD]], "steps 0 to 0 are no tokens: <pad> stands for no sound"),
        ("flat", [0, 64 + EOS, 128], "steps 0 to 2 are no tokens: <eos> stands for no sound"),
    ],
)
def test_steps_that_no_recording_has(layout, steps, reason, file):
    corpus(file, [3])
    with pytest.raises(UserError, match=reason):
        TokenDataset(file, layout=layout).to_tokens(np.array(steps))


def test_no_steps_are_no_tokens(file):
    corpus(file, [3])
    dataset = TokenDataset(file)
    assert dataset.to_tokens(np.zeros(0, int)) == []
    assert dataset.to_tokens(np.array([BOS, EOS, PAD])) == []
    assert dataset.to_tokens(np.array([BOS, 0])) == []


def test_what_a_model_writes_is_tokens(file):
    """As the page's program does: codes of the band that is due, after `<bos>`; then a new one."""
    corpus(file, [3])
    dataset, size = TokenDataset(file), VOCABULARY.size
    written = [BOS, *(step % 3 * size + step % CODES for step in range(30)), EOS, BOS, 7, size + 8]
    (tokens,) = dataset.to_tokens(np.array(written))
    np.testing.assert_array_equal(tokens.ids, np.arange(30).reshape(10, 3) % CODES)
    first, second = dataset.to_tokens(np.array([*written, 2 * size + 9]))
    np.testing.assert_array_equal(first.ids, tokens.ids)
    assert second.ids.tolist() == [[7, 8, 9]]
