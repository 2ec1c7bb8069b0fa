"""Sizes as people write them."""

import pytest

from paxosd.host.numbers import WHOLE_MAX
from paxosd.host.sizes import parse_size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), (" 65536 ", 65536), ("64KiB", 65536), ("1.5 MiB", 3 << 19), ("2GiB", 2 << 30),
     ("1TiB", 1 << 40), ("0.1KiB", 102), ("-1", -1)],
)  # fmt: skip
def test_sizes(text, size_bytes):
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["10XB", "10MB", "10 k", "GiB", "-1KiB", "1.KiB", "ten"])
def test_other_units_are_refused_with_those_that_there_are(text):
    with pytest.raises(ValueError, match="such as 64KiB, 10MiB, 2GiB"):
        parse_size_bytes(text)


@pytest.mark.parametrize("text", ["", "1.5", f"{WHOLE_MAX + 1}", "9999999999TiB", "9" * 5000])
def test_and_so_is_what_is_no_number_or_too_large(text):
    with pytest.raises(ValueError, match=r"too large|whole number"):
        parse_size_bytes(text)
