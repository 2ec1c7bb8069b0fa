"""One template for all daemons that a worker starts."""

import pytest

from paxosctl.client.credentials import Credentials
from tests.processes.keyed import RequiringDaemons
from tests.processes.processes import Daemons, clean_environ
from tests.processes.template import Template


@pytest.fixture(scope="session", autouse=True)
def template():
    started = Template(clean_environ())
    Daemons.template = started
    yield started
    Daemons.template = None
    started.close()


def pytest_generate_tests(metafunc):
    """The tests of a module with ``ALSO_KEYED = True`` run on a cluster without keys, and on one
    that requires rights."""
    if getattr(metafunc.module, "ALSO_KEYED", False):
        metafunc.parametrize("with_keys", [False, True], indirect=True, ids=["plain", "keyed"])


@pytest.fixture(autouse=True)
def with_keys(request, monkeypatch):
    """Clusters have keys, and so has every client that was given none."""
    if not getattr(request, "param", False):
        return
    made = Credentials.of

    def of(source, *, allow_plain=False):
        return made(source or RequiringDaemons.admin_key, allow_plain=allow_plain)

    monkeypatch.setattr(Daemons, "made_as", RequiringDaemons)
    monkeypatch.setattr(Credentials, "of", of)
    monkeypatch.setattr(RequiringDaemons, "admin_key", None)
