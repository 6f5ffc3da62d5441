"""`make audit` says what was looked up, and never that there is nothing where nothing was looked up."""

import runpy
import sys
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "audit.py"))
CLEAN = {"name": "torch", "version": "2.13.0", "vulns": []}
WEAK = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "CVE-2024-34064", "fix_versions": ["3.1.4"], "aliases": [], "description": "x"}],
}
LEFT_OUT = {
    "name": "numpy",
    "skip_reason": "Dependency not found on PyPI and could not be audited: numpy (2.4.6)",
}


@pytest.mark.parametrize(
    ("audited", "lines", "code"),
    [
        ([CLEAN], ["0 known vulnerabilities in 1 packages"], 0),
        (
            [CLEAN, WEAK, LEFT_OUT],
            [
                "jinja2 3.1.0 has CVE-2024-34064; fixed in 3.1.4",
                "1 known vulnerabilities in 2 packages",
                "not looked up: numpy",
            ],
            1,
        ),
        ([LEFT_OUT], ["the list of vulnerabilities knows none of 1 packages: none were looked for"], 0),
    ],
)
def test_what_was_looked_up_is_said(audited, lines, code):
    assert AUDIT["verdict"](audited) == (lines, code)


@pytest.mark.parametrize(
    ("program", "said"),
    [("no-such-program", "is not there"), (sys.executable, "was not reached, and none were looked for")],
)
def test_an_auditor_that_cannot_be_asked_is_said(capsys, program, said):
    assert AUDIT["vulnerabilities"](program) == 0
    assert said in capsys.readouterr().out
