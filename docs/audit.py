"""Lists the licences of all pinned packages, writes an SBOM, and asks for known vulnerabilities.

    python docs/audit.py [--offline]

Writes docs/dependencies.md and sbom.json (CycloneDX 1.5) from constraints.txt and the installed packages.
pip-audit, where it is installed and reaches its list, ends the command with 1 for a known vulnerability.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE, SBOM, LOCK = ROOT / "docs" / "dependencies.md", ROOT / "sbom.json", ROOT / "constraints.txt"
_COPYLEFT = re.compile(r"\b(A?GPL|General Public)", re.I)
_LESSER = re.compile(r"\b(LGPL|Lesser|MPL|Mozilla|EPL)", re.I)
_LONG = 60


def pinned() -> dict[str, str]:
    """Version by name of the packages in constraints.txt."""
    lines = (line.split("#")[0].strip() for line in LOCK.read_text(encoding="utf-8").splitlines())
    return dict(line.split(";")[0].strip().split("==", 1) for line in lines if "==" in line)


def licence_of(name: str) -> str:
    """The licence of an installed package, as its metadata give it; empty where they give none."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here"
    if expression := found.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in found.get_all("Classifier") or () if c.startswith("License ::")]
    names = [c.split(" :: ")[-1] for c in classifiers if c != "License :: OSI Approved"]
    text = str(found.get("License") or "").strip().splitlines()
    return "; ".join(names) or (text[0][:_LONG] if text else "")


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


def vulnerabilities() -> int:
    """The exit code of pip-audit; 0 with a notice where it is not installed or cannot reach its list."""
    if importlib.util.find_spec("pip_audit") is None:
        print(
            "pip-audit is not installed: `pip install pip-audit`, and run this again for known vulnerabilities"
        )
        return 0
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "-r",
        str(LOCK),
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)
    if "ConnectionError" in done.stderr or "Max retries" in done.stderr:
        print("the list of vulnerabilities was not reached: this part is not done")
        return 0
    return done.returncode


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--offline", action="store_true", help="Do not ask for vulnerabilities.")
    given = parser.parse_args()
    packages = pinned()
    licences = {name: licence_of(name) for name in packages}
    PAGE.write_text(page(packages, licences), encoding="utf-8")
    SBOM.write_text(json.dumps(sbom(packages, licences), indent=1) + "\n", encoding="utf-8")
    found = concerns(packages, licences)
    print(f"{len(packages)} packages; {PAGE.relative_to(ROOT)} and {SBOM.name} are written")
    for concern in found:
        print(f"look at {concern}")
    sys.exit(0 if given.offline else vulnerabilities())


if __name__ == "__main__":
    main()
