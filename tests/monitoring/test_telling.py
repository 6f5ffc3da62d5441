"""Prometheus reads the gauges, and a webhook gets the figures of alarms and no text."""

import http.server
import json
import threading

import pytest

from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.monitoring.telling import gauges, post, refuse_webhook, write_gauges

FIGURES = {
    "value": 0.5,
    "reference": None,
    "low": 0.4,
    "high": 0.6,
    "p": 1e-6,
    "alarm": True,
    "text": "secret words",
}
FOUND = {
    "run": 'runs/"odd"', "run_id": "abc", "task": "text-classification", "rows": 500, "waiting": 3, "ok": False,
    "guarantee": {"alpha": 0.05},
    "windows": [{"window": 1, "statistics": {"input_drift": FIGURES}}],
    "alarms": [{"window": 1, "statistic": "input_drift", "p": 1e-6, "text": "secret words",
                "evidence": {"rows": [{"row": "1", "text": "secret text"}]}}],
}  # fmt: skip


def test_prometheus_reads_the_gauges(tmp_path):
    parser = pytest.importorskip("prometheus_client.parser")
    write_gauges(tmp_path / "m.prom", FOUND)
    families = {
        it.name: it for it in parser.text_string_to_metric_families((tmp_path / "m.prom").read_text())
    }
    assert families["tunesmith_monitor_waiting_rows"].samples[0].value == 3
    (value,) = families["tunesmith_monitor_value"].samples
    assert value.labels == {"run": 'runs/"odd"', "statistic": "input_drift"}
    assert value.value == 0.5
    assert families["tunesmith_monitor_alarm"].samples[0].value == 1
    assert families["tunesmith_monitor_reference"].samples == []
    assert all(line.startswith(("#", "tunesmith_monitor_")) for line in gauges({**FOUND, "windows": []}))


@pytest.fixture
def listening():
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_figures_and_no_text(listening):
    url, got = listening
    post(url + "/hook", FOUND)
    kind, body = got[0]
    assert kind == "application/json"
    assert json.loads(body)["alarms"] == [
        {
            "window": 1,
            "statistic": "input_drift",
            "value": 0.5,
            "reference": None,
            "low": 0.4,
            "high": 0.6,
            "p": 1e-6,
        }
    ]
    assert b"secret" not in body


def test_a_webhook_that_fails_is_said(listening):
    with pytest.raises(TunesmithError, match="could not be told"):
        post(listening[0] + "/broken", FOUND)
    with pytest.raises(TunesmithError, match="could not be told"):
        post("http://127.0.0.1:9/hook", FOUND)
    for url in ("file:///etc/passwd", "example.org"):
        with pytest.raises(RecipeError, match="must be an address of http"):
            refuse_webhook(url)


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example.org/services/T0/s3cret",
        "http://a:b@h:s3cret/x",
        "ftp://u:s3cret@host/s3cret",
        "http:///s3cret",
    ],
)
def test_an_address_that_is_wrong_is_said_without_its_secret(url):
    with pytest.raises(RecipeError) as refused:
        refuse_webhook(url)
    assert "s3cret" not in str(refused.value)


def test_an_address_that_fails_is_said_without_its_secret():
    for url in ("http://127.0.0.1:9/s3cret", "http://127.0.0.1:9/s3cret x"):
        with pytest.raises(TunesmithError, match="could not be told") as failed:
            post(url, FOUND)
        assert "s3cret" not in str(failed.value)
