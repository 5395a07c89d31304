"""Every file that is opened to be written: new under its own name, or known and no link."""

import ast
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

import ulmo
from tests.bundles import PREP
from tests.commands import TINY, run
from tests.openings import NEW, outward, recorded, unsafe, written
from tests.pipelines.recordings import noise, write
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.storage.atomic import owner_of
from ulmo.storage.plain_file import append_to, create_file

ROOT = Path(ulmo.__file__).parent


def test_in_every_command(make_bundle, tmp_path):
    audio, out, tiles = (tmp_path / name for name in ("audio", "out", "tiles"))
    for label in "ab":
        for seed in range(2):
            write(audio / label / f"{label}{seed}.wav", noise(8000, seed))
    chosen = ("--tokenizer", make_bundle(tmp_path / "bundle", PREP))
    one = audio / "a" / "a0.wav"
    commands = [
        ("prep", audio, tiles, *TINY, "--workers", 1),
        ("tokenize", one, *chosen),
        ("tokenize", one, *chosen, "--format", "csv"),
        ("tokenize", audio, *chosen, "--out-dir", out, "--workers", 1),
        ("tokenize", audio, *chosen, "--out", tmp_path / "corpus.parquet", "--workers", 1),
        ("convert", out, "--out", tmp_path / "all.bin", "--format", "megatron"),
        ("convert", out, "--out", tmp_path / "labels", "--format", "raven"),
        ("eval", chosen[1], tiles, "--json", tmp_path / "eval.json"),
        ("show", one, *TINY[:2], "--out", tmp_path / "one.png"),
        ("look", one, "--out", tmp_path / "one.html"),
        ("regions", audio, *chosen, "--out", tmp_path / "r.csv", "--workers", 1),
        ("regions", audio, *chosen, "--out", tmp_path / "r.parquet", "--workers", 1),
        ("repeats", audio, "--out", tmp_path / "s.csv", "--picture", tmp_path / "s.png"),
        ("export-hub", chosen[1], tmp_path / "hub"),
        ("lm", "score", one, "--out", tmp_path / "l.csv", "--picture", tmp_path / "l.png"),
        ("inspect", chosen[1]),
        ("verify", tiles, "--repair"),
        ("verify", out, "--repair"),
    ]
    made = {}
    for name, *arguments in commands:
        if name == "verify":
            (Path(arguments[0]) / ".x.tokens.npy.0123456789abcdef.tmp").touch()
        with recorded() as openings:
            result = run(command, name, *arguments)
        assert result.exit_code == 0, (name, result.output)
        assert unsafe(openings) == []
        assert outward(openings) == []
        new = {Path(path).name for path, flags in written(openings) if flags & NEW == NEW}
        made.setdefault(name, set()).update(new)
    assert not any(map(owner_of, made.pop("inspect") | made.pop("verify")))
    for name, new in made.items():
        found = [name.split(".")[-2] for name in new if owner_of(name)]
        assert (name, bool(found)) == (name, True)
        assert all(re.fullmatch("[0-9a-f]{24}", token) for token in found)


def test_sockets_and_programs_are_seen():
    with recorded() as openings:
        socket.socket().close()
        subprocess.run(["true"], check=True)
    assert set(outward(openings)) >= {"socket.__new__", "subprocess.Popen"}


def test_the_events_are_seen(tmp_path):
    """Such as each of these is: the check of the commands is no better than what it sees."""
    path = tmp_path / "x"
    bad = [
        lambda: path.open("wb"),
        lambda: path.open("ab"),
        lambda: path.open("r+b"),
        lambda: os.fdopen(os.open(path, os.O_RDWR), "rb"),
        lambda: os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb"),
        lambda: open(path, "wb", opener=os.open),  # noqa: SIM115
    ]
    for opened in bad:
        path.unlink(missing_ok=True)
        if opened is not bad[4]:
            path.touch()
        with recorded() as openings, opened():
            pass
        assert [each for each, _ in unsafe(openings)] == [str(path)]
    log = tmp_path / "losses.csv"
    with recorded() as openings:
        create_file(log).close()
        append_to(log).close()
        path.read_bytes()
    assert unsafe(openings) == []
    assert [each for each, _ in written(openings)] == [str(log)] * 2


# Files of ulmo that open to write by themselves, and what they open.
OWN = {
    "storage/plain_file.py": "create_file and append_to",
    "storage/lock.py": "a lock, to ask whether it is held",
    "storage/removal.py": "folders, to look into them",
    "storage/open_folder.py": "folders, to write files in them, and what a killed job left there",
    "storage/probe.py": "a folder, to lock it",
    "config/descriptors.py": "nothing: /dev/null",
    "cli/streams.py": "nothing: /dev/null",
    "jobs/worker.py": "nothing: /dev/null",
    "pipelines/loading.py": "nothing: /dev/null",
    "data.py": "a temporary file without a name",
}
WRITERS = {"write_bytes", "write_text", "touch", "mknod", "savefig", "imsave", "tofile"}
WRITERS |= {"savetxt", "savez", "memmap", "copyfile", "copy2", "copytree"}


def test_no_other_part_of_ulmo_opens_to_write():
    found = set()
    names = re.compile(r"\b(fd)?open\(|" + r"\(|".join(WRITERS))
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text if names.search(text) else "")):
            if isinstance(node, ast.Call) and _writes(node):
                found.add(path.relative_to(ROOT).as_posix())
    # A figure is drawn to memory, files are mapped to be read, and help written to the screen.
    harmless = {"pictures/axes.py", "preprocessing/store.py", "cli/options.py"}
    harmless |= {"listening/samples.py"}
    assert found == harmless | OWN.keys()


def _writes(call):
    """Whether a call may open a file to write, by its name and its mode."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = [
        *(each.value for each in call.args if isinstance(each, ast.Constant)),
        *(each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)),
    ]
    opens = name in ("open", "fdopen") and any(
        isinstance(word, str) and re.fullmatch(r"[rwaxbt+U]+", word) and set(word) & set("wax+")
        for word in words
    )
    return name in WRITERS or opens or ast.unparse(call.func) == "os.open"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_what_is_appended_to_is_a_plain_file_with_one_name(kind, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "losses.csv"
    victim.write_text("mine")
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim)
    else:
        (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    with pytest.raises((UserError, IsADirectoryError)) as raised:
        append_to(path)
    assert kind == "folder" or "remove it" in str(raised.value)
    with pytest.raises(FileExistsError):
        create_file(path)
    assert victim.read_text() == "mine"
