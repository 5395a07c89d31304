"""The log of a SoundTrap, which lies beside the recording: x.log.xml for x.wav.

The host program unpacks a .sud file to both, and notes in the log what it met, one event an
element: <PROC_EVENT ID="3"><WavFileHandler NAME="VALUE" /></PROC_EVENT>. Names and words are those
of its WavFileHandler (see WavFileHandler.java in PAMGuard's x3 library), which writes all of them
in capitals: letters are compared without their case.
"""

import re
from collections.abc import Iterator
from datetime import UTC, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ulmo.preprocessing.times.timestamps import read_stamp
from ulmo.preprocessing.times.timing import Span, Start, Timing
from ulmo.preprocessing.times.xml_text import Element, read_xml
from ulmo.storage.sidecar import read_sidecar

_HANDLER = "wavfilehandler"
_MICROSECONDS = re.compile(r"\s*+(-?\d{1,15})\s*+(?:us)?\s*+", re.ASCII | re.IGNORECASE)
_GAP = re.compile(r"sampling gap\s++(-?\d{1,15})\s*+us at sample\s++(\d{1,15})\b", re.ASCII)
# Each block of samples adds up to a microsecond of rounding to the log's sum of gaps. So a sum
# below this share of the recording, or below a tenth of a second, is no gap.
_ROUNDED, _LEAST = Fraction(1, 10_000), Fraction(1, 10)


class _Gap(NamedTuple):
    frame: int  # before which time was left out
    seconds: Fraction


class _Gaps(NamedTuple):
    left: list[_Gap]
    filled: Fraction  # seconds for which the host wrote zeros
    lost: bool  # whether a gap has no place


def soundtrap_timing(path: Path, sample_rate: int) -> Timing | None:
    """The time of a recording by its log; None without a log. OSError if that cannot be read.

    A gap that the host filled with zeros leaves time as it was. A gap whose place the log does not
    give makes time not linear, and so does a log that was not read to its end. The log of a
    recording without a rate in its header, which no SoundTrap made, says nothing.
    """
    log = read_sidecar(path)
    if log is None:
        return None
    if not sample_rate:
        return Timing(None, log=log.stamp)
    elements, damage = read_xml(log.content)
    events = _events(elements)
    facts = dict(reversed(events))  # the first of each name
    start = _start(facts)
    gaps = _find_gaps([value.lower() for name, value in events if name == "info"])
    placed = gaps.filled + sum(gap.seconds for gap in gaps.left)
    known = _seconds(facts.get("cumulativesamplinggap"))
    slack = max(_LEAST, _ROUNDED * (_seconds(facts.get("samplingtimeperiod")) or 0))
    wrong = gaps.lost or any(one.frame >= two.frame for one, two in pairwise(gaps.left))
    note = None
    if fault := log.fault or damage:
        note = f"its log was not read to its end ({fault}), and may count time that was left out"
    elif wrong or (known is not None and abs(known - placed) > slack):
        note = "its log counts time that was left out, and does not say where"
    if note:
        return Timing(start, linear=False, note=note, log=log.stamp)
    return Timing(start, tuple(_spans(gaps.left, sample_rate)), log=log.stamp)


def unread_log(path: Path) -> str | None:
    """Why the log beside a recording cannot be read to its end; None if it can, or without one."""
    log = read_sidecar(path)
    return None if log is None else log.fault or read_xml(log.content).fault or None


def _events(elements: list[Element]) -> list[tuple[str, str]]:
    """The attributes of the handler that wrote the .wav, in their order.

    The log describes each handler by a CFG element, which has the suffix of its file.
    """
    wanted = ""
    found: dict[str, list[tuple[str, str]]] = {}
    for element in elements:
        number = next((given["ID"] for given in element.attributes if "ID" in given), "")
        name = element.path[-1].lower()
        if name == "suffix" and element.text.lower() == "wav":
            wanted = wanted or number
        elif name == _HANDLER:
            facts = element.attributes[-1].items()
            found.setdefault(number, []).extend((key.lower(), value) for key, value in facts)
    return found.get(wanted) or next(iter(found.values()), [])


def _start(facts: dict[str, str]) -> Start | None:
    """SamplingStartTimeUTC, and the microseconds that follow it."""
    time = read_stamp(facts.get("samplingstarttimeutc", ""), UTC)
    late = _seconds(facts.get("samplingstarttimesubs")) or Fraction(0)
    if time is None or not 0 <= late < 1:
        return None
    return Start(time + timedelta(microseconds=int(late * 1_000_000)), "log")


def _find_gaps(infos: list[str]) -> _Gaps:
    """The gaps in the messages of the handler."""
    left: list[_Gap] = []
    filled, lost, after_gap = Fraction(0), False, False
    for info in infos:
        match = _GAP.search(info)
        if match and int(match[1]) > 0:
            left.append(_Gap(int(match[2]), Fraction(int(match[1]), 1_000_000)))
        elif "sampling gap" in info:
            lost = True
        elif info.startswith("added ") and after_gap:
            filled += left.pop().seconds
        after_gap = bool(match) and not lost
    return _Gaps(left, filled, lost)


def _spans(gaps: list[_Gap], rate: int) -> Iterator[Span]:
    begin, late = 0, Fraction(0)
    for gap in gaps:
        if gap.frame > begin:
            yield Span(begin, gap.frame - begin, Fraction(begin, rate) + late)
        begin, late = gap.frame, late + gap.seconds
    yield Span(begin, None, Fraction(begin, rate) + late)


def _seconds(text: str | None) -> Fraction | None:
    """Seconds from a number of microseconds, such as "120 us"."""
    match = _MICROSECONDS.fullmatch(text or "")
    return Fraction(int(match[1]), 1_000_000) if match else None
