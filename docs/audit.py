"""Lists the licences of all pinned packages, writes an SBOM, and asks for known vulnerabilities.

    python docs/audit.py [--offline] [--auditor PROGRAM]

Writes docs/dependencies.md and sbom.json (CycloneDX 1.5) from constraints.txt and the installed packages.
pip-audit, where it is installed and reaches its list, is asked: the command ends with 1 for a known vulnerability.
Where it is not or does not, that is said, and the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE, SBOM, LOCK = ROOT / "docs" / "dependencies.md", ROOT / "sbom.json", ROOT / "constraints.txt"
_COPYLEFT = re.compile(r"\b(A?GPL|General Public)", re.I)
_LESSER = re.compile(r"\b(LGPL|Lesser|MPL|Mozilla|EPL)", re.I)
_LONG = 60
_ABSENT = "not installed here"


def pinned() -> dict[str, str]:
    """Version by name of the packages in constraints.txt."""
    lines = (line.split("#")[0].strip() for line in LOCK.read_text(encoding="utf-8").splitlines())
    return dict(line.split(";")[0].strip().split("==", 1) for line in lines if "==" in line)


def licence_of(name: str) -> str:
    """The licence of an installed package, as its metadata give it; empty where they give none."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return _ABSENT
    if expression := found.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in found.get_all("Classifier") or () if c.startswith("License ::")]
    names = [c.split(" :: ")[-1] for c in classifiers if c != "License :: OSI Approved"]
    text = str(found.get("License") or "").strip().splitlines()
    return "; ".join(names) or (text[0][:_LONG] if text else "")


def licences_before() -> dict[tuple[str, str], str]:
    """Licences in sbom.json by name and version: of packages that are not installed where this runs."""
    if not SBOM.is_file():
        return {}
    components = json.loads(SBOM.read_text(encoding="utf-8"))["components"]
    return {
        (one["name"], one["version"]): one["licenses"][0]["license"]["name"]
        for one in components
        if one["licenses"]
    }


def needed_at_run_time() -> set[str]:
    """The packages that an installation without extras needs, as normalised names."""
    found: set[str] = set()
    waiting = ["tunesmith"]
    while waiting:
        try:
            required = metadata.requires(waiting.pop()) or ()
        except metadata.PackageNotFoundError:
            continue
        for line in required:
            name = _normal(re.split(r"[ ;<>=!~\[(]", line, maxsplit=1)[0])
            if "extra ==" not in line and name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def page(packages: dict[str, str], licences: dict[str, str]) -> str:
    """The page with a line for each package."""
    needed = needed_at_run_time()
    lines = [
        "# Dependencies",
        "",
        "Every package of `constraints.txt` with its licence, as its metadata give it; `make audit` writes this "
        "page. Those without a mark are needed only by extras and by developers.",
        "",
        "| package | version | needed | licence |",
        "|---|---|---|---|",
    ]
    for name, version in sorted(packages.items(), key=lambda item: item[0].lower()):
        mark = "yes" if _normal(name) in needed else ""
        lines.append(f"| {name} | {version} | {mark} | {licences[name] or 'not stated'} |")
    return "\n".join(lines) + "\n"


def sbom(packages: dict[str, str], licences: dict[str, str]) -> dict[str, object]:
    """The packages as CycloneDX."""
    components = [
        {
            "type": "library", "name": name, "version": version,
            "purl": f"pkg:pypi/{_normal(name)}@{version}",
            "licenses": [{"license": {"name": licences[name]}}] if licences[name] else [],
        }
        for name, version in sorted(packages.items())
    ]  # fmt: skip
    this = {"type": "application", "name": "tunesmith", "licenses": [{"license": {"id": "Apache-2.0"}}]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": {"component": this},
        "components": components,
    }


def concerns(packages: dict[str, str], licences: dict[str, str]) -> list[str]:
    """What a reader of the licences should look at: copyleft, and none stated, of what is needed."""
    needed = needed_at_run_time()
    found = []
    for name in packages:
        licence = licences[name]
        if _normal(name) not in needed:
            continue
        if not licence:
            found.append(f"{name}: states no licence")
        elif _COPYLEFT.search(licence) and not _LESSER.search(licence):
            found.append(f"{name}: {licence}")
    return found


def vulnerabilities(auditor: str) -> int:
    """The exit code: 1 for a known vulnerability, 0 without one, and where nothing can be said of it.

    Args:
        auditor: program pip-audit.
    """
    if not shutil.which(auditor):
        print(f"`{auditor}` is not there (`pip install pip-audit`): vulnerabilities were not looked for")
        return 0
    command = [
        auditor,
        "-r",
        str(LOCK),
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "-f",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        audited = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"the list of vulnerabilities was not reached, and none were looked for: {said}")
        return 0
    lines, code = verdict(audited)
    print("\n".join(lines))
    return code


def verdict(audited: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What the report of pip-audit says, in lines, and the exit code.

    It ends with 0 and "No known vulnerabilities found" also where its list knows none of the packages, as a mirror
    of PyPI that has no list of them.

    Args:
        audited: its entries, one a package.
    """
    looked_up = [one for one in audited if "vulns" in one]
    left_out = [one["name"] for one in audited if "vulns" not in one]
    if not looked_up:
        return [f"the list of vulnerabilities knows none of {len(audited)} packages: none were looked for"], 0
    found = [
        f"{one['name']} {one['version']} has {it['id']}; fixed in {', '.join(it['fix_versions']) or 'no version'}"
        for one in looked_up
        for it in one["vulns"]
    ]
    lines = [*found, f"{len(found)} known vulnerabilities in {len(looked_up)} packages"]
    if left_out:
        lines.append(f"not looked up: {', '.join(left_out)}")
    return lines, int(bool(found))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--offline", action="store_true", help="Do not ask for vulnerabilities.")
    parser.add_argument("--auditor", default="pip-audit", help="The program pip-audit.")
    given = parser.parse_args()
    packages = pinned()
    known = licences_before()
    licences = {
        name: known.get((name, version), _ABSENT) if (found := licence_of(name)) == _ABSENT else found
        for name, version in packages.items()
    }
    PAGE.write_text(page(packages, licences), encoding="utf-8")
    SBOM.write_text(json.dumps(sbom(packages, licences), indent=1) + "\n", encoding="utf-8")
    found = concerns(packages, licences)
    print(f"{len(packages)} packages; {PAGE.relative_to(ROOT)} and {SBOM.name} are written")
    for concern in found:
        print(f"look at {concern}")
    sys.exit(0 if given.offline else vulnerabilities(given.auditor))


if __name__ == "__main__":
    main()
