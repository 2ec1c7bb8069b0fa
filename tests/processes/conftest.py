"""One template for all daemons that a worker starts."""

import pytest

from tests.processes.processes import Daemons, clean_environ
from tests.processes.template import Template


@pytest.fixture(scope="session", autouse=True)
def template():
    started = Template(clean_environ())
    Daemons.template = started
    yield started
    Daemons.template = None
    started.close()
