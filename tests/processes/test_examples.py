"""docs/examples: each is run, against one cluster."""

import importlib.util
import json
from pathlib import Path

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.processes.processes import Daemons, wait_for

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(name):
    """The module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Daemons(tmp_path_factory.mktemp("examples"), 1) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(
            lambda: (daemons.status("n1") or {}).get("level", 0) >= LEVEL_COORDINATION,
            what="the feature level of leases",
        )
        with daemons.client() as client:
            yield client


def test_leader_elected_cron(client):
    run = example("leader_elected_cron").run
    assert run(client, "host1", lambda token: b"%d" % token, ticks=2, every_s=0.01) == 2
    first = int(client.get(b"cron-result").value)
    run(client, "host2", lambda token: b"%d" % token, ticks=1, every_s=0.01)
    assert int(client.get(b"cron-result").value) > first


def test_fenced_job_queue(client):
    for name in (b"a", b"b"):
        client.put(b"jobs/" + name, name)
    assert example("fenced_job_queue").work(client, bytes.upper) == [b"jobs/a", b"jobs/b"]
    assert [row.value for row in client.scan(b"results/")] == [b"A", b"B"]
    assert list(client.scan(b"jobs/")) == []


def test_service_registry(client):
    module = example("service_registry")
    present = module.addresses(client)
    assert next(present) == []
    with module.announced(client, "10.0.0.1:80"):
        assert next(present) == ["10.0.0.1:80"]
    assert next(present) == []
    present.close()


def test_config_reload(client):
    module = example("config_reload")
    limits = module.limits(client)
    assert next(limits) == module.Limits(4, 1.0)
    client.put(b"limits", b"no JSON")
    client.put(b"limits", b'{"colour": 1}')
    client.put(b"limits", json.dumps({"workers": 8}).encode())
    assert next(limits) == module.Limits(8, 1.0)
    limits.close()


def test_each_example_is_run():
    names = {each.stem for each in EXAMPLES.glob("*.py")}
    assert names == {
        name.removeprefix("test_") for name in globals() if name.startswith("test_")
    } - {"each_example_is_run"}
