import pytest

from service.report.words import duration_text, number_text, seconds_text, share_text, size_text

NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (duration_text(59.96), "1:00.0"),
        (duration_text(3723.46), "1:02:03.5"),
        (duration_text(7.04), "0:07.0"),
        (size_text(999), "999 bytes"),
        (size_text(1_234_567), "1.2 MB"),
        (size_text(5_000_000_000_000_000), "5000.0 TB"),
        (seconds_text(99.994), "99.99"),
        (seconds_text(100), "100.0"),
        (share_text(0.1234), "12.3%"),
        (number_text(1234.56), "1,234.6"),
        *[(one(NAN), "-") for one in (duration_text, seconds_text, share_text, number_text)],
    ],
)
def test_numbers_are_written_for_people(found: str, expected: str) -> None:
    assert found == expected
