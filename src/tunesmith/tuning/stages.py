"""A stage of a search: its trials in the storage, who runs which, and which values come next.

A trial is claimed by a process: first one that a dead process has left, then a new one. A claim holds the lock of
the trial's folder, which the system drops when the process ends, however it ends. So no trial is lost, and none is
run twice. The values of a trial depend on its number, the seed and the trials that have ended before, not on the
process that draws them: with one process, a search that was killed ends like one that was not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.run.locking import is_locked, locked, needing_locks
from tunesmith.tuning.folder import trial_folder
from tunesmith.tuning.outcome import Result
from tunesmith.tuning.space import Space, space_from_json, space_to_json, within_work

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

    from tunesmith.types import JsonObject

_SETTINGS, _RESULT, _HOST, _ENDED = "settings", "result", "host", "ended"
_RANDOM_TRIALS = 8
"""Trials of a stage that are drawn at random before the sampler learns from them."""
_RANDOM_FULL_TRIALS = 4
_FIRST_RUNG_PERCENT = 25
_REDUCTION = 2
_NAMELESS_S = 5.0
_PATIENCE_S = 600.0
_PATIENCE_RATIO = 3.0


@dataclass(frozen=True)
class Settings:
    """What every process must know of a stage.

    Args:
        name: `default`, `coarse`, `fine` or `finalists`.
        space: keys that are searched.
        most_trials: number of trials that are begun at most.
        until: `time.time()` after which no trial begins, and running ones are cut short; infinite without a limit.
        share: share of the training rows that a trial learns from.
        prunes: whether trials that are worse than others are ended early.
        keeps_used: whether the recipes of the trials, as they were used, are kept too.
        expected_s: seconds that a trial usually takes; none begins that would probably be cut short.
        usual_epochs: epochs of the default recipe, if no trial may do more than twice its work.
    """

    name: str
    space: Space
    most_trials: int
    until: float
    share: float = 1.0
    prunes: bool = True
    keeps_used: bool = False
    expected_s: float = 0.0
    usual_epochs: float | None = None

    def to_json(self) -> JsonObject:
        """As the storage keeps them; no limit of time is None."""
        until = None if self.until == float("inf") else self.until
        return {**asdict(self), "space": space_to_json(self.space), "until": until}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Settings:
        """The settings that `to_json` wrote."""
        until = float("inf") if found["until"] is None else found["until"]
        return cls(**{**found, "space": space_from_json(found["space"]), "until": until})


@dataclass(frozen=True)
class Done:
    """A trial that has ended.

    Args:
        number: number within its stage.
        values: value of each key of the space.
        result: what it came to.
    """

    number: int
    values: dict[str, Any]
    result: Result


@dataclass(frozen=True)
class Claim:
    """A trial that this process runs.

    Args:
        number: number within its stage.
        values: value of each key of the space.
        folder: folder of the trial.
        trial: trial in the storage.
    """

    number: int
    values: dict[str, Any]
    folder: Path
    trial: Trial


class Stage:
    """A stage in a storage.

    Args:
        storage: storage of the search.
        search: name of the search, the same for every process.
        settings: settings of the stage.
        seed: seed of the search.
        maximize: whether greater values are better.
    """

    def __init__(
        self, storage: BaseStorage, search: str, settings: Settings, *, seed: int, maximize: bool
    ) -> None:
        self.settings, self._storage, self._seed = settings, storage, seed
        self._name, self._maximize = f"{search}-{settings.name}", maximize

    @classmethod
    def begun(
        cls, storage: BaseStorage, search: str, name: str, *, seed: int, maximize: bool
    ) -> Stage | None:
        """A stage that another process has begun; None if there is none."""
        import optuna

        try:
            study = optuna.load_study(study_name=f"{search}-{name}", storage=storage)
        except KeyError:
            return None
        if _SETTINGS not in study.user_attrs:
            return None
        settings = Settings.from_json(study.user_attrs[_SETTINGS])
        return cls(storage, search, settings, seed=seed, maximize=maximize)

    def begin(self, first: Sequence[Mapping[str, Any]] = ()) -> None:
        """Makes the stage in the storage, or gives the one that is there its new settings.

        Args:
            first: values of the first trials, by key; the sampler draws those of the others.
        """
        study = self._study(0)
        for values in first if _SETTINGS not in study.user_attrs else ():
            drawn = {it.key: it.drawn(values[it.key]) for it in self.settings.space if it.key in values}
            study.enqueue_trial({key: value for key, value in drawn.items() if value is not None})
        study.set_user_attr(_SETTINGS, self.settings.to_json())

    @contextlib.contextmanager
    def claim(self, trials: Path, claims: Path) -> Iterator[Claim | None]:
        """A trial to run, which is held while this lasts; None if no other is to be begun.

        Args:
            trials: folder of the trials' folders.
            claims: file by which the processes of a machine take turns.
        """
        with contextlib.ExitStack() as held:
            with _turn(claims):
                found = self._claimed(trials, held)
            yield found

    def _claimed(self, trials: Path, held: contextlib.ExitStack) -> Claim | None:
        import optuna

        running = self._frozen(optuna.trial.TrialState.RUNNING)
        for left in running:
            folder = self.folder(trials, left.number)
            if _is_of_this_machine(left) and not is_locked(folder):
                held.enter_context(locked(folder))
                return self._drawn(optuna.trial.Trial(self._study(left.number), left._trial_id), folder)
        if time.time() + self.settings.expected_s >= self.settings.until:
            return None
        number = len(self._frozen()) - len(self._frozen(optuna.trial.TrialState.WAITING))
        if number >= self.settings.most_trials:
            return None
        trial = self._study(number).ask()
        if trial.number >= self.settings.most_trials:  # another machine has begun the last one meanwhile
            self._study(number).tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        trial.set_user_attr(_HOST, socket.gethostname())
        folder = self.folder(trials, trial.number)
        held.enter_context(locked(folder))
        return self._drawn(trial, folder)

    def _drawn(self, trial: Trial, folder: Path) -> Claim:
        drawn = {it.key: trial._suggest(it.key, it.distribution()) for it in self.settings.space}
        return Claim(trial.number, self._values(drawn), folder, trial)

    def _values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a trial by what was drawn for it."""
        values = {it.key: it.value(drawn[it.key]) for it in self.settings.space if it.key in drawn}
        if self.settings.usual_epochs is None:
            return values
        return within_work(values, self.settings.usual_epochs)

    def should_prune(self, claim: Claim, percent: int, value: float) -> bool:
        """Whether a trial is worse than others were at the same part of their steps; the value is kept."""
        claim.trial.report(value, percent)
        return self.settings.prunes and claim.number > 0 and claim.trial.should_prune()

    def tell(self, claim: Claim, result: Result) -> None:
        """Keeps the result of a trial."""
        from optuna.trial import TrialState

        study = self._study(claim.number)
        kept = asdict(result) if self.settings.keeps_used else {**asdict(result), "used": {}}
        claim.trial.set_user_attr(_RESULT, kept)
        if result.is_complete:
            study.tell(claim.number, result.value)
        else:
            study.tell(claim.number, state=TrialState.PRUNED if result.state == "pruned" else TrialState.FAIL)

    def done(self) -> list[Done]:
        """The trials that have ended, in the order of their numbers."""
        found = []
        for trial in self._frozen():
            if trial.state.is_finished() and _RESULT in trial.user_attrs:
                result = Result(**trial.user_attrs[_RESULT])
                found.append(Done(trial.number, self._values(trial.params), result))
        return found

    def running(self) -> int:
        """The number of trials that run, here or elsewhere; lost ones of other machines are given up."""
        import optuna

        count = 0
        for trial in self._frozen(optuna.trial.TrialState.RUNNING):
            if self._is_lost(trial):
                self._study(trial.number).tell(
                    trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True
                )
            else:
                count += 1
        return count

    def _is_lost(self, trial: FrozenTrial) -> bool:
        """Whether a trial of another machine has run far longer than any that has ended."""
        if _is_of_this_machine(trial):
            return False
        longest = max((it.result.seconds for it in self.done()), default=0.0)
        return _age_s(trial) > max(_PATIENCE_S, _PATIENCE_RATIO * longest)

    def folder(self, trials: Path, number: int) -> Path:
        """The folder of a trial."""
        return trial_folder(trials, self.settings.name, number)

    def forget(self) -> None:
        """Removes the stage and its trials from the storage, if it is there."""
        import optuna

        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=self._name, storage=self._storage)

    def end(self) -> None:
        """Tells processes that joined the search that there will be no other stage."""
        self._study(0).set_user_attr(_ENDED, True)

    @property
    def is_ended(self) -> bool:
        """Whether `end` was called, by any process."""
        return bool(self._study(0).user_attrs.get(_ENDED))

    def study(self) -> Study:
        """The study, for an analysis of its trials."""
        return self._study(0)

    def _study(self, number: int) -> Study:
        """The study with a sampler for one trial."""
        import optuna

        return optuna.create_study(
            storage=self._storage,
            study_name=self._name,
            load_if_exists=True,
            direction="maximize" if self._maximize else "minimize",
            sampler=optuna.samplers.TPESampler(
                seed=(self._seed * 1_000_003 + number) % 2**32,
                multivariate=True,
                n_startup_trials=_RANDOM_TRIALS,
            ),
            pruner=self._pruner(),
        )

    def _pruner(self) -> BasePruner:
        """Successive halving on a part of the rows, where trials are cheap; else the median of the others."""
        from optuna.pruners import MedianPruner, SuccessiveHalvingPruner

        if self.settings.share < 1:
            return SuccessiveHalvingPruner(min_resource=_FIRST_RUNG_PERCENT, reduction_factor=_REDUCTION)
        return MedianPruner(n_startup_trials=_RANDOM_FULL_TRIALS, n_warmup_steps=_FIRST_RUNG_PERCENT)

    def _frozen(self, *states: Any) -> list[FrozenTrial]:
        import optuna

        study = optuna.load_study(study_name=self._name, storage=self._storage)
        found: list[FrozenTrial] = study.get_trials(deepcopy=False, states=states or None)
        return found


def _is_of_this_machine(trial: FrozenTrial) -> bool:
    """Whether a trial runs here; one that has not said where, since its process was killed, after some seconds."""
    if _HOST not in trial.user_attrs:
        return _age_s(trial) > _NAMELESS_S
    return bool(trial.user_attrs[_HOST] == socket.gethostname())


def _age_s(trial: FrozenTrial) -> float:
    began = trial.datetime_start
    return time.time() - began.timestamp() if began is not None else 0.0


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """One process of this machine at a time; it waits for its turn.

    Raises:
        RunError: the file system has no locks.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with needing_locks(path):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
