"""The systemd files: systemd's own verifier reads them, where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paxosd.daemon import exits

CONF = Path(__file__).parents[2] / "conf"
SERVICE = CONF / "paxosd@.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed here"
)


@pytest.fixture
def installed(tmp_path):
    """The units in a directory of their own, with a program that exists."""
    for name in ("paxosd@.service", "paxosd.target"):
        text = (CONF / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/paxosd/bin/paxosd", "/bin/true"))
    return tmp_path


def analyze(*args):
    return subprocess.run(
        ["systemd-analyze", *args], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
class TestSystemd:
    def test_it_verifies_without_a_word(self, installed):
        done = analyze(
            "verify", "--man=no", f"{installed}/paxosd@.service", f"{installed}/paxosd.target"
        )
        about_ours = [line for line in done.stderr.splitlines() if "paxosd" in line]
        assert (done.returncode, about_ours) == (0, [])

    def test_the_verifier_would_have_found_a_mistake(self, installed):
        unit = installed / "paxosd@.service"
        unit.write_text(unit.read_text().replace("WatchdogSec=20", "WatchdogSeconds=20"))
        done = analyze("verify", "--man=no", str(unit))
        assert "WatchdogSeconds" in done.stderr


class TestService:
    def test_it_is_not_restarted_where_that_cannot_help(self):
        codes = re.search(r"^RestartPreventExitStatus=(.*)$", SERVICE.read_text(), re.M)
        assert {int(code) for code in codes[1].split()} == exits.LASTING

    def test_it_waits_for_ready_and_watches(self):
        lines = SERVICE.read_text().splitlines()
        assert "Type=notify" in lines
        assert any(line.startswith("WatchdogSec=") for line in lines)
        assert "User=paxosd" in lines
