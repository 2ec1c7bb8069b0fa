"""What pyproject.toml cannot say: each build begins in an empty directory.

setuptools copies the modules to ``build/lib``, which stays, and packs all that is there: a module
that was removed since would be installed for ever.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build


class CleanBuild(build):
    """``build`` without what an earlier one left behind."""

    def run(self) -> None:
        """Build anew."""
        shutil.rmtree(Path(self.build_lib), ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
