"""Numbers, durations and texts that people give: read as far as paxosd has room for them."""

from pathlib import Path

import pytest

from paxosd.config.settings import ConfigError
from paxosd.config.sources import load
from paxosd.host.durations import parse_duration_ms
from paxosd.host.numbers import WHOLE_MAX, parse_whole
from paxosd.host.text_files import TEXT_BYTES_MAX, read_text
from paxosd.host.toml import read_toml


class TestWhole:
    @pytest.mark.parametrize("text", ["0", "7", "-3", " 12 ", str(WHOLE_MAX), "+5", "007"])
    def test_what_is_one(self, text):
        assert parse_whole(text) == int(text)

    @pytest.mark.parametrize("text", ["", "x", "1_0", "٣", "1.0", "0x10", "²", "--1", "1 2"])
    def test_what_is_none(self, text):
        with pytest.raises(ValueError, match="not a whole number"):
            parse_whole(text)

    @pytest.mark.parametrize("text", [str(WHOLE_MAX + 1), "9" * 5000])
    def test_too_large(self, text):
        with pytest.raises(ValueError, match="too large"):
            parse_whole(text)

    @pytest.mark.parametrize("text", ["-1", "-" + "9" * 5000])
    def test_too_small(self, text):
        with pytest.raises(ValueError, match="too small"):
            parse_whole(text, 0)


@pytest.mark.parametrize("text", ["9" * 400 + "h", "900000h", "٣s", "1e9s", "inf", "nan"])
def test_no_durations(text):
    with pytest.raises(ValueError, match=r"not a duration|hundred years"):
        parse_duration_ms(text)


class TestTextFiles:
    def test_one_without_an_end(self):
        with pytest.raises(ValueError, match="longer than"):
            read_text(Path("/dev/zero"))

    def test_as_long_as_may_be(self, tmp_path):
        path = tmp_path / "t"
        path.write_bytes(b"a" * TEXT_BYTES_MAX)
        assert len(read_text(path)) == TEXT_BYTES_MAX

    @pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "{a=" * 5000])
    def test_nested_too_deeply(self, tmp_path, text):
        path = tmp_path / "t.toml"
        path.write_text(text)
        with pytest.raises(ValueError, match="nested too deeply"):
            read_toml(path)
        with pytest.raises(ConfigError, match="nested too deeply"):
            load(path, (), {})

    def test_no_text_of_the_configuration_holds_a_nul(self, tmp_path):
        path = tmp_path / "n1.toml"
        path.write_text('[node]\ndata_dir = "a\\u0000b"\n[log]\nfile = "a\\u0000b"\n')
        with pytest.raises(ConfigError) as caught:
            load(path, (), {})
        assert sum("NUL" in problem for problem in caught.value.problems) == 2
