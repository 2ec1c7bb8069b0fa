"""The systemd files: systemd's own verifier reads them, where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paxosctl.cli.target import CREDENTIAL, NO_CREDENTIAL
from paxosctl.client.errors import EXIT_NEGATIVE, EXIT_REFUSED, EXIT_STORAGE, EXIT_USAGE
from paxosd.daemon import exits

CONF = Path(__file__).parents[2] / "conf"
SERVICE = CONF / "paxosd@.service"

EXPOSURE_MAX = 1.5
UNITS = ("paxosd@.service", "paxosd.target", "paxosd-backup.service", "paxosd-backup.timer")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed here"
)


@pytest.fixture
def installed(tmp_path):
    """The units in a directory of their own, with a program that exists."""
    for name in UNITS:
        text = (CONF / name).read_text()
        (tmp_path / name).write_text(re.sub(r"/opt/paxosd/bin/\w+", "/bin/true", text))
    return tmp_path


def analyze(*args):
    return subprocess.run(
        ["systemd-analyze", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_systemd
class TestSystemd:
    def test_it_verifies_without_a_word(self, installed):
        done = analyze("verify", "--man=no", *(f"{installed}/{name}" for name in UNITS))
        about_ours = [line for line in done.stderr.splitlines() if "paxosd" in line]
        assert (done.returncode, about_ours) == (0, [])

    def test_the_verifier_would_have_found_a_mistake(self, installed):
        unit = installed / "paxosd@.service"
        unit.write_text(unit.read_text().replace("WatchdogSec=20", "WatchdogSeconds=20"))
        done = analyze("verify", "--man=no", str(unit))
        assert "WatchdogSeconds" in done.stderr

    @pytest.mark.parametrize("name", ["paxosd@.service", "paxosd-backup.service"])
    def test_little_of_the_machine_is_exposed(self, name):
        """All of it would be 10; what is left is the network, for the most part."""
        done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", CONF / name)
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        assert float(found[1]) <= EXPOSURE_MAX, done.stdout
        assert done.returncode == 0


class TestBackup:
    def test_it_is_tried_again_where_that_may_help(self):
        """No leader, no node: another try. A damaged backup, a full disk: somebody must look."""
        text = (CONF / "paxosd-backup.service").read_text()
        codes = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.M)
        assert {int(code) for code in codes[1].split()} == {
            EXIT_NEGATIVE, EXIT_USAGE, EXIT_STORAGE, EXIT_REFUSED,
        }  # fmt: skip

    def test_without_the_file_of_a_key_it_shows_none(self):
        """systemd takes the text of SetCredential= where the file of LoadCredential= is missing."""
        lines = (CONF / "paxosd-backup.service").read_text().splitlines()
        assert f"LoadCredential={CREDENTIAL}:/etc/paxosd/backup.key" in lines
        assert f"SetCredential={CREDENTIAL}:{NO_CREDENTIAL.decode()}" in lines


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
