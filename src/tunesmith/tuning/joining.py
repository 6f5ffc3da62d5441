"""A process that joins a search: it runs trials of each stage that the first process begins.

Workers of one machine are started by the first process, and read the search from its folder. On another machine,
`tunesmith tune` with the same recipe, data and `--storage` joins the search that it finds there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tunesmith.data.preparing import find_splits
from tunesmith.errors import InterruptedRunError
from tunesmith.events import Events
from tunesmith.recipe import Recipe
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.opening import Options, open_search, prepare_search
from tunesmith.tuning.running import COARSE, DEFAULT, FINALISTS, FINE, Search, work_off

_SECONDS_BETWEEN_LOOKS = 0.3


def join(search: Search, has_ended: Callable[[], bool]) -> None:
    """Runs trials of every stage that another process begins, until the search has ended.

    Args:
        search: search as this process knows it.
        has_ended: function that says whether the first process is done with all stages.
    """
    for name in (COARSE, FINE, FINALISTS):
        while (stage := search.begun(name)) is None:
            if has_ended() or any(search.begun(later) for later in _after(name)):
                break
            if search.shared.should_stop():
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if stage is not None:
            work_off(search, stage)


def _after(name: str) -> tuple[str, ...]:
    order = (DEFAULT, COARSE, FINE, FINALISTS)
    return order[order.index(name) + 1 :]


def main(path: str, cores: str) -> None:
    """A worker of the search in a folder, on some cores of this machine."""
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    parent, folder = os.getppid(), SearchFolder(Path(path))
    request = json.load(sys.stdin)

    def is_orphan() -> bool:
        return os.getppid() != parent

    recipe = find_splits(Recipe.model_validate(request["recipe"]))
    options = Options(storage=request["storage"], should_stop=is_orphan)
    asked = prepare_search(recipe, request["fingerprint"], options, Events(), checks=False)
    search = open_search(folder, asked, options, (), time.monotonic)
    try:
        join(search, is_orphan)
    except InterruptedRunError:
        return  # the first process ends the search, or is gone


if __name__ == "__main__":
    from tunesmith.process import set_process_options

    set_process_options()
    main(*sys.argv[1:])
