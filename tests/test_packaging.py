"""What a wheel of this checkout holds, and how the installation is described."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = """
import sys
sys.path.insert(0, ".build_backend")
import clean_build
clean_build.build_wheel("out")
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a wheel is built from."""
    for name in ("paxosd", "paxosctl"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".build_backend", tmp_path / ".build_backend")
    return tmp_path


def files_of_wheel(checkout):
    """The files in a wheel that is built now, as ``pip install .`` does it."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "out").glob("paxosd-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_a_module_that_was_removed_is_not_shipped_again(checkout):
    gone = checkout / "build" / "lib" / "paxosd" / "gone.py"
    gone.parent.mkdir(parents=True)
    gone.write_text("")
    names = files_of_wheel(checkout)
    assert "paxosd/gone.py" not in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "paxosd").rglob("*.py")}
    assert modules <= names
    assert {"paxosd/py.typed", "paxosctl/py.typed", "paxosd/config/paxosd.toml"} <= names


def test_nothing_says_to_install_by_a_name_on_an_index():
    """That name is not ours there."""
    by_name = re.compile(r"pip3? install (?:-\S+ )*paxosd\b(?![-/.\w])")
    said = {
        path.name
        for path in [ROOT / "README.md", *(ROOT / "docs").iterdir(), *(ROOT / "conf").rglob("*")]
        if path.is_file() and by_name.search(path.read_text())
    }
    assert not said
    assert by_name.search("/opt/paxosd/bin/pip install paxosd), the other")
    install = (ROOT / "docs" / "INSTALL.md").read_text()
    assert "pip wheel" in install
    assert "paxosd-*.whl" in install
    assert "docs/INSTALL.md" in (ROOT / "conf" / "paxosd@.service").read_text()
