"""setuptools, but each build begins in an empty directory: what pyproject.toml cannot say.

setuptools copies the modules to ``build/lib``, which stays, and packs all that is there: a module
that was removed since would be installed for ever.
"""

import shutil
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- all other hooks are setuptools' own


def build_wheel(*args: Any, **kwargs: Any) -> str:
    """Build anew."""
    shutil.rmtree("build/lib", ignore_errors=True)
    made: str = build_meta.build_wheel(*args, **kwargs)
    return made
