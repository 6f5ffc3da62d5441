"""docs/serve.md and the dashboard: their code runs, and they name what there is."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tunesmith.monitoring.statistics import STATISTICS
from tunesmith.monitoring.telling import gauges

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.+?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_code_of_the_page_runs(code, server, monkeypatch, capsys):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    exec(compile(code.replace("http://127.0.0.1:8080", server.url), "docs/serve.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_curl_of_the_page_runs(server):
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl")]
    command = shlex.split(line.replace("http://127.0.0.1:8080", server.url))
    done = subprocess.run([*command, "--noproxy", "*"], capture_output=True, text=True, check=True)
    assert [entry["label"] for entry in json.loads(done.stdout)]


def test_commands_of_the_page_have_options_that_there_are(tunesmith):
    known = tunesmith("serve", "--help").out
    lines = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("tunesmith serve")
    ]
    assert lines
    named = {word for line in lines for word in line.split() if word.startswith("--")}
    named |= set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert not [option for option in named if option not in known]


def test_the_routes_of_the_page_are_those_of_the_server(client):
    described = client.get("/openapi.json").json()["paths"]
    table = PAGE.split("## Routes")[1].split("\n\n`GET /openapi.json`")[0]
    paths = {path.rstrip("`") for path in re.findall(r"(/[\w/]+)", table) if not path.startswith("//")}
    there = {
        re.sub(r"\{(\w+)\}", lambda m: {"name": "NAME", "task": "TASK"}.get(m[1], ""), path)
        for path in described
    }
    for path in (
        p for p in paths if p in {"/answer", "/predict", "/embed", "/metrics", "/livez", "/v2"} or "NAME" in p
    ):
        assert path in there, path


def test_the_dashboard_asks_for_metrics_that_there_are(client):
    """Those of the server, and those that `monitor --metrics` writes."""
    nothing = {"run": "r", "windows": [], "alarms": [], "waiting": 0}
    there = client.get("/metrics").text + "\n".join(gauges(nothing))
    text = (ROOT / "examples" / "serving" / "grafana.json").read_text()
    names = set(re.findall(r'\b((?:te|tunesmith)_[a-z_]+?)(?:_bucket)?\b[\[{)" ]', text))
    assert len(names) > 25
    for name in names | set(re.findall(r"`((?:te|tunesmith)_\w+)`", PAGE)):
        assert f"# HELP {name}" in there, name
    asked = re.findall(r'statistic=~\\"([a-z_|]+)', text)
    assert asked
    assert {name for one in asked for name in one.split("|")} <= set(STATISTICS.names())
