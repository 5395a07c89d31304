"""Files that hold many sounds, written here by another hand than that which reads them."""

import gzip
import struct

import numpy as np

from recipes.corpora.containers import clonk_group, openttd_catalogue, sound_font


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def test_samples_of_a_sound_font_without_right_halves():
    parts = [np.arange(50, dtype="<i2"), -np.arange(30, dtype="<i2"), np.full(7, 9, "<i2")]
    names = (b"Bird", b"Sea (R)", b"Sea (L)", b"EOS")
    starts = np.cumsum([0, *map(len, parts)])
    headers = b""
    for number, (name, kind) in enumerate(zip(names, (1, 2, 4, 0), strict=True)):
        last = number == 3
        first, end = (0, 0) if last else (starts[number], starts[number + 1])
        header = (name, first, end, 0, 0, 22050 + number, 60, 0, 0, kind)
        headers += struct.pack("<20s5IBbHH", *header)
    body = b"sfbk" + chunk(b"LIST", b"INFO" + chunk(b"INAM", b"odd"))
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", b"".join(part.tobytes() for part in parts)))
    body += chunk(b"LIST", b"pdta" + chunk(b"phdr", b"") + chunk(b"shdr", headers))
    found = list(sound_font(chunk(b"RIFF", body)))
    assert [(sample.name, sample.rate) for sample in found] == [("Bird", 22050), ("Sea (L)", 22052)]
    np.testing.assert_array_equal(found[0].samples, parts[0])
    np.testing.assert_array_equal(found[1].samples, parts[2])


def test_entries_of_a_catalogue():
    entries = [("Über", b"RIFF1"), ("Horn", b"RIFF-2")]
    place, head, bodies = 16, b"", b""
    for title, sound in entries:
        text = title.encode() + b"\0"
        head += struct.pack("<II", (place + len(bodies)) | 1 << 31, len(sound))
        bodies += bytes([len(text)]) + text + sound
    assert list(openttd_catalogue(head + bodies)) == entries


def clonk(files, packed=False):
    """A group of files; a dict is a group in it."""
    header, entries, bodies = bytearray(204), b"", b""
    struct.pack_into("<i", header, 36, len(files))
    for name, content in files.items():
        body = clonk(content) if isinstance(content, dict) else content
        entry = bytearray(316)
        entry[: len(name)] = name.encode()
        struct.pack_into("<4i", entry, 264, isinstance(content, dict), len(body), 0, len(bodies))
        entries, bodies = entries + bytes(entry), bodies + body
    for start in range(0, 202, 3):
        header[start], header[start + 2] = header[start + 2], header[start]
    whole = bytes(byte ^ 237 for byte in header) + entries + bodies
    return b"\x1e\x8c" + gzip.compress(whole)[2:] if packed else whole


def test_files_of_groups_in_a_group():
    group = {"Wind.ogg": b"wind", "Animals.ocg": {"Bat.ocg": {"Chirp.wav": b"eek"}, "Z.wav": b""}}
    assert dict(clonk_group(clonk(group, packed=True))) == {
        "Wind.ogg": b"wind",
        "Animals/Bat/Chirp.wav": b"eek",
        "Animals/Z.wav": b"",
    }
