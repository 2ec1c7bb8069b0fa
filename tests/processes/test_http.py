"""A real daemon's /metrics, /livez and /readyz, over its own port."""

import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from paxosd.metrics.catalogue import METRICS
from tests.processes.ports import free_ports
from tests.processes.processes import Daemons


def get(port, path):
    """(status, text)"""
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def port():
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def daemons(tmp_path_factory, port):
    settings = {"http": {"listen": f"127.0.0.1:{port}"}}
    with Daemons(tmp_path_factory.mktemp("http"), 1, **settings) as daemons:
        daemons.start()
        daemons.wait_leader()
        with daemons.client() as client:
            for number in range(20):
                client.put(b"key", b"%d" % number)
            client.get(b"key")
        yield daemons


def test_metrics(daemons, port):
    status, text = get(port, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert status == 200
    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert found[("paxosd_is_leader",)] == 1
    assert found[("paxosd_keys",)] == 1
    assert found[("paxosd_leader_changes_total",)] >= 1
    assert found["paxosd_requests_total", ("kind", "read")] >= 1
    done = ("outcome", "ok"), ("verb", "write")
    assert found["paxosd_request_duration_seconds_count", *done] >= 20
    assert found["paxosd_write_stage_duration_seconds_count", ("stage", "persist")] >= 2
    assert found[("paxosd_fsync_duration_seconds_count",)] >= 1


def test_health(daemons, port):
    assert get(port, "/livez") == (200, "alive\n")
    status, said = get(port, "/readyz?verbose")
    assert status == 200
    assert "[+] leader: ok\n" in said
    assert get(port, "/else")[0] == 404


def test_a_port_in_use_ends_the_start_with_its_exit_code(tmp_path, daemons, port):
    with Daemons(tmp_path, 1, http={"listen": f"127.0.0.1:{port}"}) as others:
        others.init("n1")
        code, said = others.fails_to_start("n1")
    assert code == 69
    assert "http.listen" in said or "http.listen" in others.log_path("n1").read_text()
