"""`tunesmith monitor`: its exit codes, and what it writes."""

import csv
import json

from tunesmith.testing.tiny import tiny_rows


def write(path, texts):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("text",), *((text,) for text in texts)])
    return path


def test_exit_codes_page_gauges_and_json(tunesmith, finished_run, tmp_path):
    usual = write(tmp_path / "usual.csv", [row["text"] for row in tiny_rows(1000)[400:460]])
    done = tunesmith("monitor", finished_run.path, "--data", usual, "--window", 60)
    assert done.code == 0, done.err
    assert "nothing has changed beyond chance in 1 window of 60 rows" in done.out

    other = write(tmp_path / "other.csv", [f"el perro de la vecina ladra a los gatos {i}" for i in range(60)])
    page, gauges = tmp_path / "monitor.html", tmp_path / "m.prom"
    arguments = ("monitor", finished_run.path, "--data", other, "--window", 60, "--output", page)
    done = tunesmith(*arguments, "--metrics", gauges, "--webhook", "http://127.0.0.1:9/", "--json")
    assert done.code == 4
    found = json.loads(done.out)
    assert not found["ok"]
    assert "webhook could not be told" in done.err
    assert "<svg" in page.read_text(encoding="utf-8")
    assert 'statistic="input_drift"} 1.0' in gauges.read_text()

    assert tunesmith(*arguments).code == 2  # the page is there
    refused = tunesmith("monitor", finished_run.path, "--data", other, "--webhook", "file:///x")
    assert (refused.code, "must be an address of http" in refused.err) == (2, True)
