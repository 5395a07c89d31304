"""TokenDataset: every format, splits, orders, memory, and what is refused."""

import pickle
import re
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from tests.formats.streams import header_of, save
from tests.packing import BOS, EOS, PAD, corpus, ids_of, joined
from ulmo.config import UserError
from ulmo.data import PARTS, TokenDataset
from ulmo.formats import FORMATS


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.tokens.csv"


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.readable])
def test_every_format_that_is_read_back(name, tmp_path):
    lengths = [6] if name == "npy" else [6, 0, 4]
    path = tmp_path / f"x{FORMATS[name].suffixes[-1]}"
    every = corpus(path, lengths, name=name)
    dataset = TokenDataset(path, length=8, part="all")
    found = dataset.to_tokens(joined(dataset))
    assert [tokens.ids.tolist() for tokens in found] == [ids.tolist() for ids in every if len(ids)]
    assert found[0].fingerprint == "ab" * 32
    assert found[0].seconds.tolist() == [0.16 * place for place in range(6)]


def test_a_tokenizer_decodes_what_comes_back(tokenizer_of, tmp_path):
    tokenizer = tokenizer_of()
    samples = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    tokens = tokenizer.encode(samples, sample_rate=2000)
    ids, size = tokens.ids, tokenizer.manifest.model.codebook_size
    edges = tuple(map(float, tokens.edges_hz))
    header = header_of(
        ids,
        fingerprint=tokenizer.manifest.fingerprint,
        sample_rate=tokens.sample_rate,
        hop=tokens.hop,
        frame_hop=tokens.hop // tokenizer.manifest.model.time_stride,
        edges_hz=edges,
        codebook_size=size,
        filled=1,
    )
    path = save(tmp_path / "x.tokens.npy", "npy", [(header, ids)])
    dataset = TokenDataset(path, length=4096, part="all", layout="delay")
    (found,) = dataset.to_tokens(dataset[0])
    np.testing.assert_array_equal(found.ids, ids)
    assert 0 <= found.frames - tokens.frames < tokenizer.manifest.model.time_stride
    np.testing.assert_array_equal(tokenizer.decode(found), tokenizer.decode(tokens))


class TestSplit:
    def test_every_recording_is_in_one_part(self, file):
        corpus(file, [3] * 30)
        parts = {part: TokenDataset(file, part=part, fraction=0.3).recordings for part in PARTS}
        assert sorted(parts["train"] + parts["validation"]) == sorted(parts["all"])
        assert len(parts["all"]) == 30
        assert 3 <= len(parts["validation"]) <= 15
        other = TokenDataset(file, part="validation", fraction=0.3, seed=1).recordings
        assert other != parts["validation"]

    def test_it_goes_by_name_and_not_by_order(self, file):
        ids, sides = ids_of(2), []
        for order in (range(20), reversed(range(20)), range(0, 20, 2)):
            save(file, "csv", [(header_of(ids, recording=f"{n}.wav"), ids) for n in order])
            sides.append({*TokenDataset(file, part="validation", fraction=0.4).recordings})
        assert sides[0] == sides[1]
        assert sides[2] == {name for name in sides[0] if int(name[:-4]) % 2 == 0}

    def test_the_channels_of_a_recording_stay_together(self, file):
        ids = ids_of(2)
        both = [
            (header_of(ids, recording=f"{place}.wav", channel=channel), ids)
            for place in range(8)
            for channel in range(2)
        ]
        save(file, "csv", both)
        for part in ("train", "validation"):
            names = TokenDataset(file, part=part, fraction=0.5).recordings
            assert all(names.count(name) == 2 for name in names)

    @pytest.mark.parametrize("fraction", [0.01, 0.99])
    def test_no_part_is_empty(self, file, fraction):
        corpus(file, [3] * 3)
        for part in ("train", "validation"):
            assert TokenDataset(file, part=part, fraction=fraction).recordings

    @pytest.mark.parametrize(("lengths", "fraction"), [([3], 0.5), ([3, 3], 0)])
    def test_nothing_to_hold_out(self, file, lengths, fraction):
        corpus(file, lengths)
        assert len(TokenDataset(file, fraction=fraction).recordings) == len(lengths)
        with pytest.raises(UserError, match=r"has no recordings for the part validation: add"):
            TokenDataset(file, part="validation", fraction=fraction)


class TestOrder:
    def test_an_epoch_is_the_same_each_time(self, file):
        corpus(file, [7] * 6)
        dataset = TokenDataset(file, length=5, part="all")
        one, again, two = (np.stack([*dataset.shuffled(epoch)]) for epoch in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert one.shape == two.shape
        assert (one != two).any()
        chained = np.stack([*dataset.shuffled(2).shuffled(1)])
        np.testing.assert_array_equal(one, chained)
        reseeded = TokenDataset(file, length=5, part="all", seed=1).shuffled(1)
        assert (one != np.stack([*reseeded])).any()

    def test_items_are_shuffled_too(self, file):
        corpus(file, [60])
        dataset = TokenDataset(file, length=6, part="all")
        before, after = ([item.tolist() for item in each] for each in (dataset, dataset.shuffled()))
        assert before != after
        assert sorted(before) == sorted(after)

    def test_nothing_is_lost_or_doubled(self, file):
        every = corpus(file, [7, 2, 9])
        dataset = TokenDataset(file, length=4, part="all", layout="columns", overlap=0)
        shuffled = dataset.shuffled()
        assert len(shuffled) == len(dataset)
        count = np.bincount(np.concatenate([*shuffled])[:, 0], minlength=64)
        expected = np.bincount(np.concatenate(every)[:, 0], minlength=64)
        expected[[BOS, EOS]] = 3
        expected[PAD] = count[PAD]
        np.testing.assert_array_equal(count, expected)

    def test_indices(self, file):
        corpus(file, [20])
        dataset = TokenDataset(file, length=8, part="all")
        np.testing.assert_array_equal(dataset[-1], dataset[len(dataset) - 1])
        np.testing.assert_array_equal(dataset[np.int64(1)], dataset[1])
        for index in (len(dataset), -len(dataset) - 1):
            with pytest.raises(IndexError):
                dataset[index]
        with pytest.raises(TypeError):
            dataset[0.5]
        changed = dataset[0]
        changed[:] = 0
        assert dataset[0][0] == BOS


class TestMemory:
    def test_tokens_are_mapped_and_outlive_the_folder(self, file):
        every = corpus(file, [30])
        dataset = TokenDataset(file, length=16, part="all")
        shutil.rmtree(file.parent)
        assert isinstance(dataset._steps, np.memmap)
        assert not dataset._steps.flags.writeable
        assert dataset._steps.dtype == np.uint16
        (found,) = dataset.to_tokens(joined(dataset))
        np.testing.assert_array_equal(found.ids, every[0])

    def test_no_file_is_left(self, file, tmp_path, monkeypatch):
        corpus(file, [30])
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        dataset = TokenDataset(file)
        assert len(dataset) == 1
        assert list((tmp_path / "temporary").iterdir()) == []

    def test_more_ids_than_two_bytes_hold(self, file):
        ids = np.array([[1, 39_999], [2, 3]], np.int32)
        save(file, "csv", [(header_of(ids, codebook_size=40_000), ids)])
        dataset = TokenDataset(file, length=32)
        assert dataset._steps.dtype == np.uint32
        assert dataset[0].max() == 39_999 + 40_064 < dataset.size == 2 * 40_064
        np.testing.assert_array_equal(dataset.to_tokens(dataset[0])[0].ids, ids)

    def test_workers_that_are_spawned_get_the_same(self, file):
        corpus(file, [30, 5])
        dataset = TokenDataset(file, length=16).shuffled(2)
        again = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(np.stack([*again]), np.stack([*dataset]))

    def test_a_full_disk_is_told(self, file, monkeypatch):
        corpus(file, [3])

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ulmo.data.TemporaryFile", full)
        with pytest.raises(UserError, match="set TMPDIR to a folder with more"):
            TokenDataset(file)


WRONG = [
    ("length", [1, 0, 2.0, "8", True, None, (1 << 20) + 1]),
    ("layout", ["rows", 3, None]),
    ("part", ["test", 0, None]),
    ("fraction", [1, -0.1, float("nan"), "0.1", True, None]),
    ("seed", [-1, 1.5, None, 1 << 32]),
    ("overlap", [-1, 1024, 0.5]),
    ("path", [3, None]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG for value in values]
)
def test_arguments_are_refused_in_one_line(name, value, file):
    corpus(file, [3])
    with pytest.raises(UserError) as refused:
        TokenDataset(**{"path": file, **{name: value}})
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_tokens_of_two_grids_are_refused(tmp_path):
    for place, fingerprint in enumerate(("ab" * 32, "cd" * 32)):
        ids = ids_of(3)
        header = header_of(ids, recording=f"{place}.wav", fingerprint=fingerprint)
        save(tmp_path / f"{place}.tokens.npy", "npy", [(header, ids)])
    expected = r"^the tokens of 1\.wav are of another tokenizer or grid than those of 0\.wav: give"
    with pytest.raises(UserError, match=expected):
        TokenDataset(tmp_path)


def test_a_folder_without_tokens_is_refused(tmp_path, file):
    with pytest.raises(UserError, match="holds no tokens: make them with ulmo-tokenize"):
        TokenDataset(tmp_path)
    corpus(file, [0, 0])
    with pytest.raises(UserError, match="holds no tokens to learn from"):
        TokenDataset(file)


@pytest.mark.parametrize(("number", "word"), [(EOS, "<eos>"), (PAD, "<pad>"), (40, "id 40")])
def test_a_recording_that_holds_other_special_tokens_is_refused(number, word, file):
    """They would be borders: what is packed could not be told apart again."""
    ids = np.array([[1, number, 2]], np.int32)
    save(file, "csv", [(header_of(ids, recording="a.wav"), ids)])
    with pytest.raises(UserError, match=rf"^a\.wav is no .*: {word} stands for no sound$"):
        TokenDataset(file)


def test_the_recipe_of_the_page(tmp_path, monkeypatch, capsys):
    """The page's way to Hugging Face datasets, run as it is shown, on other tokens."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path / "out" / "x.tokens.csv", [200, 300])
    page = Path(__file__).parents[1] / "docs" / "own-model.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    (recipe,) = [block for block in blocks if "from datasets" in block]
    names = {}
    exec(recipe, names)
    for row, item in zip(names["packed"], TokenDataset("out", length=257), strict=True):
        np.testing.assert_array_equal(row["input_ids"], item)
    assert re.match(rf"{len(names['train'])} \[ *{BOS} ", capsys.readouterr().out)
