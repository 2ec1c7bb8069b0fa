"""One recorded run for all tests here."""

import pytest

from tests.trace.recorded import SEED, SHORT, record


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The traces of one run, with crashes."""
    directory = tmp_path_factory.mktemp("traces")
    record(directory, SEED, **SHORT)
    return directory
