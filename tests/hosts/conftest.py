"""Where hosts cannot be made these tests are skipped, and say why."""

import pytest

from tests.hosts.hosts import why_no_hosts


@pytest.fixture(scope="session")
def namespaces():
    if why := why_no_hosts():
        pytest.skip(why)


@pytest.fixture(scope="session")
def systemd():
    if why := why_no_hosts(systemd=True):
        pytest.skip(why)
