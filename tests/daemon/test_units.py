"""The systemd files: systemd's own verifier reads them, where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paxosd.daemon import exits

CONF = Path(__file__).parents[2] / "conf"
SERVICE = CONF / "paxosd@.service"

EXPOSURE_MAX = 1.5

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

    def test_little_of_the_machine_is_exposed_to_a_node(self):
        """The whole of it is 10; without access to the network at all it would be 0.4."""
        done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(SERVICE))
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        assert float(found[1]) <= EXPOSURE_MAX, done.stdout
        assert done.returncode == 0


class TestService:
    def test_it_is_not_restarted_where_that_cannot_help(self):
        codes = re.search(r"^RestartPreventExitStatus=(.*)$", SERVICE.read_text(), re.M)
        assert {int(code) for code in codes[1].split()} == exits.LASTING

    def test_it_waits_for_ready_and_watches(self):
        lines = SERVICE.read_text().splitlines()
        assert "Type=notify" in lines
        assert any(line.startswith("WatchdogSec=") for line in lines)
        assert "User=paxosd" in lines

    def test_no_image_of_its_memory_is_left(self):
        """It holds all keys and values."""
        assert "LimitCORE=0" in SERVICE.read_text().splitlines()

    def test_the_drop_in_that_waits_for_a_reload_is_for_newer_versions_alone(self):
        drop_in = (CONF / "notify-reload.conf").read_text().splitlines()
        assert "Type=notify-reload" in drop_in
        assert "ReloadSignal=SIGHUP" in drop_in
        assert "Type=notify-reload" not in SERVICE.read_text().splitlines()
