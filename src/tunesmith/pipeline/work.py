"""What a training is to do and where: decided before the first phase, and read by all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tunesmith.events import Events
from tunesmith.hooks import NO_HOOKS, Hooks
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import Task
from tunesmith.training.processes import Processes


@dataclass(frozen=True)
class Work:
    """A training to be done.

    Args:
        run: run folder.
        task: task that is learned.
        requested: recipe as the user gave it.
        recipe: recipe with the splits that a folder holds; that of the earlier start once a run has resumed.
        events: listeners.
        resumes: whether the folder holds an earlier start of this run.
        processes: processes that train together.
        should_stop: asked at every step; the training stops with everything saved when it is true.
        hooks: what a program puts in place of parts of the training.
    """

    run: Run
    task: Task
    requested: Recipe
    recipe: Recipe
    events: Events
    resumes: bool
    processes: Processes
    should_stop: Callable[[], bool]
    hooks: Hooks = NO_HOOKS

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Reports a stage, and writes into the manifest how long it took, by the clock and on the processor."""
        self.events.stage(name, title)
        began, busy = time.perf_counter(), time.process_time()
        yield
        if not self.processes.is_first:
            return
        seconds = {"stages_s": time.perf_counter() - began, "processor_s": time.process_time() - busy}
        known = self.run.manifest()
        self.run.update_manifest(
            **{of: {**known.get(of, {}), name: round(took, 3)} for of, took in seconds.items()}
        )
