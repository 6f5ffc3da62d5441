"""Makes README's picture of a report and its block of output again, from a real run of README's own command.

`make pictures` needs Chromium and takes about a minute. The picture shows the beginning of the report, in 256
colours, which keeps it small.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "report.png"
_WIDTH, _HEIGHT = 1000, 712
_OUTPUT = re.compile(r"(```console\n(tunesmith train [^\n]+)\n```\n.+?```text\n)(.*?)(```\n)", re.DOTALL)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Runs the command, and writes the block and the picture."""
    page = README.read_text(encoding="utf-8")
    found = _OUTPUT.search(page)
    if found is None:
        sys.exit("README.md: there is no `tunesmith train` command with a block of output after it.")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "examples" / "reviews.csv", folder)
        output = _run(found[2], Path(folder))
        report = next(Path(folder).glob("runs/*/report.html"))
        _take_picture(report, PICTURE)
    README.write_text(page[: found.start(3)] + output + page[found.end(3) :], encoding="utf-8")
    print(f"README.md, and {PICTURE.relative_to(ROOT)} ({PICTURE.stat().st_size / 1e3:.0f} kB)")


def _run(command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip() + "\n"


def _take_picture(page: Path, target: Path) -> None:
    from PIL import Image

    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"The picture needs one of {', '.join(_BROWSERS)}, and none is installed.")
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-background-networking",
        ]
        subprocess.run(
            [browser, *options, f"--user-data-dir={profile}", f"--window-size={_WIDTH},{_HEIGHT}",
             f"--screenshot={target}", page.as_uri()],
            stderr=subprocess.DEVNULL,
            check=True,
        )  # fmt: skip
    with Image.open(target) as picture:
        picture.convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
