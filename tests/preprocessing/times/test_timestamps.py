from datetime import UTC, datetime, timedelta, timezone

import pytest

from ulmo.config import UserError
from ulmo.preprocessing.times.timestamps import find_time, parse_pattern, read_stamp

EAST = timezone(timedelta(hours=10))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


class TestTimestampPattern:
    @pytest.mark.parametrize(
        ("pattern", "name", "expected"),
        [
            ("%d%b%Y-%H%M", "x05JAN2023-1830.wav", utc(2023, 1, 5, 18, 30)),
            ("%d%b%y", "05jan23.wav", utc(2023, 1, 5)),
            ("%y%m%d", "990101.wav", utc(1999, 1, 1)),
            ("%Y%j", "2024366.wav", utc(2024, 12, 31)),
            ("%Y_%j_%H", "R2023_001_07.wav", utc(2023, 1, 1, 7)),
            ("%Y%m%d.%H%M%S.%f", "rec.20230101.120000.25.wav", utc(2023, 1, 1, 12, 0, 0, 250000)),
            ("%Y%m%d %H%M%S%z", "20230101 120000+0530.wav", utc(2023, 1, 1, 6, 30)),
            ("%Y%m%d%%%H", "20230101%12.wav", utc(2023, 1, 1, 12)),
            ("_%Y%m%d.wav", "1_20230101.wav", utc(2023, 1, 1)),
            ("5_%Y%m%d", "5_20230101.wav", utc(2023, 1, 1)),
            ("%Y%m%d", "20231301_20230102.wav", utc(2023, 1, 2)),
        ],
    )
    def test_found(self, pattern, name, expected):
        assert find_time(parse_pattern(pattern), name, UTC) == expected

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            *(("%Y%m%d", "220230101.wav"), ("%Y%m%d", "202301011.wav")),
            *(("5_%Y%m%d", "15_20230101.wav"), ("REC%Y%m%d", "rec20230101.wav")),
            *(("%Y%j", "2023366.wav"), ("%Y%j", "2023000.wav"), ("%y%m%d", "690101.wav")),
            *(("%Y.%m.%d", "2023a01b01.wav"), ("%Y%m%d%z", "20230101+2500.wav")),
        ],
    )
    def test_not_found(self, pattern, name):
        assert find_time(parse_pattern(pattern), name, UTC) is None

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [
            ("%Y%m%d_%Q", "'%Q' is not one of %Y %y"),
            ("%Y%m%d%", "'%' is not one of"),
            ("%Y%m%d\n%\n", r"'%\n' is not one of"),
            *((text, "it has no date") for text in ("%H%M%S", "", "%Y%m", "%m%d", "%%Y%m%d")),
            ("%Y%m%d%Y", "%Y occurs twice"),
            ("%Y%m%d_%M%S", "%M needs %H"),
            ("%Y%y%m%d", "%Y and %y mean the same"),
            ("%Y%m%d%j", "%j and %m mean the same"),
        ],
    )
    def test_a_pattern_that_cannot_work_is_one_line_with_an_example(self, pattern, words):
        with pytest.raises(UserError) as caught:
            parse_pattern(pattern)
        message = str(caught.value)
        assert words in message
        assert "\n" not in message
        assert message.endswith("as in --timestamp-pattern %Y%m%d_%H%M%S")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-01-01T12:00:00", utc(2023, 1, 1, 2)),
        ("2023-01-01 12:00:00Z", utc(2023, 1, 1, 12)),
        ("2023-01-01 12:00:00 UTC", utc(2023, 1, 1, 12)),
        ("2023-01-01T12:00:00.25-0500", utc(2023, 1, 1, 17, 0, 0, 250000)),
        ("2022-05-03 14:23:10 BST", None),  # British or Bangladesh
        ("2022-05-03 14:23:10 CEST", utc(2022, 5, 3, 12, 23, 10)),
        ("2023-01-01 01:00:00 PM", utc(2023, 1, 1, 3)),
        ("2023-01-01 12:00:00 or so", None),
        ("2023-01-01 12:00:00-0500x", None),
        ("2023-01-01", None),
        ("at 2023-01-01 12:00:00", None),
    ],
)
def test_a_stamp_is_read_whole_or_not_at_all(text, expected):
    assert read_stamp(text, EAST) == expected
