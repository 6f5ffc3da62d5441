"""What Evidently's default drift of a text column says of windows; runs in an environment that has evidently.

`python benchmarks/_monitoring_peer.py windows.json answers.json`: reads a mapping from a name to pairs of texts of
the reference and of a window, and writes for each name how many windows have drifted.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path


def has_drifted(reference: list[str], window: list[str]) -> bool:
    """Whether the text column has drifted, by the test that Evidently chooses for it."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(text_columns=["text"])
    one, other = (
        Dataset.from_pandas(pd.DataFrame({"text": texts}), data_definition=definition)
        for texts in (reference, window)
    )
    found = Report([DataDriftPreset()]).run(other, one).dict()
    share = next(it["value"] for it in found["metrics"] if "DriftedColumnsCount" in it["metric_name"])
    return share["count"] > 0


def main() -> None:
    """Reads windows, and writes how many have drifted."""
    import evidently

    warnings.simplefilter("ignore")
    windows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = {"version": evidently.__version__, "found": {}}
    for name, pairs in windows.items():
        began = time.time()
        n = sum(has_drifted(*pair) for pair in pairs)
        answers["found"][name] = {"windows": len(pairs), "drifted": n, "seconds": time.time() - began}
        sys.stderr.write(f"{name}: {n} of {len(pairs)}, {time.time() - began:.0f} s\n")
        Path(sys.argv[2]).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
