"""Runs each trial in its own process: a crash becomes a row of the table, and all memory is freed."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from src.images.cache import StalePictures
from src.running.resources import full_disk, is_full
from src.searches.callbacks import Deadline
from src.searches.claims import PLACE, PROCESS, REASON, machine
from src.searches.search_folder import reason_of
from src.searches.storage import outlast_cuts
from src.session import settle
from src.study import StudySearch, make_study

logger = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two checks of the process
FULL_DISK, NO_FAULT = 28, 29  # exit codes: the disk is full (ENOSPC); another error not the trial's fault
TIME_TO_END = 10.0  # seconds that a process is given to end when asked to


@dataclass
class IsolatedTrials:
    """Trains one trial per call, each in a new process; takes the place of `StudySearch.train_one`.

    Attributes:
        search: hands out the trials and reports on them.
        timeout_minutes: a process that completes no epoch in this time hangs and is ended; 0 is no limit.
        deterministic: see `start_run`; passed on because a new process inherits none of these settings.
        precision: see `start_run`; passed on for the same reason.
    """

    search: StudySearch
    timeout_minutes: float = 0.0
    deterministic: str = "auto"
    precision: str = "auto"

    def __call__(self, deadline: Deadline) -> int | None:
        """Returns the number of the trial that was trained, None if all are taken.

        Raises:
            RuntimeError: the process ended before it had a trial.
            OSError: the disk is full, or the pictures are gone or have been split differently.
        """
        if not self.search.claims.has_one_free():
            return None
        self._before = len(self.search.claims.study.get_trials(deepcopy=False))
        settings = (self.search.recipe, deadline.moment, self.deterministic, self.precision)
        context = multiprocessing.get_context("spawn")
        reasons, tell = context.Pipe(duplex=False)
        process = context.Process(target=train_one, args=(*settings, tell), daemon=True)
        process.start()
        try:
            hangs = self._watch(process)
        except KeyboardInterrupt:
            end(process)
            if trial := self._trial_of(process):
                self.search.attempts.interrupt(self._live(trial), "stopped by KeyboardInterrupt")
            raise
        finally:
            end(process)
        if process.exitcode == FULL_DISK:
            raise full_disk(self.search.folder)  # not the trial's fault: it will be taken again
        if process.exitcode == NO_FAULT:
            raise OSError(reasons.recv() if reasons.poll() else cause(process.exitcode))
        trial, reason = self._trial_of(process), cause(process.exitcode)
        if trial is None and process.exitcode == 0:
            return None  # another process was faster
        if hangs:
            reason = f"no epoch was over in {self.timeout_minutes:g} minutes: its process was ended"
        if trial is None:
            raise RuntimeError(f"a trial's process ended before it had a trial ({reason})")
        if trial.state is TrialState.RUNNING:
            self.search.attempts.end(self._live(trial), TrialState.FAIL, None, {REASON: reason})
        return trial.user_attrs[PLACE] + 1

    def _watch(self, process: BaseProcess) -> bool:
        """Returns True if the process hangs, False once it has ended."""
        moved, seen = time.monotonic(), None
        while process.is_alive():
            process.join(LOOK)
            now = outlast_cuts(partial(self._progress_of, process))
            if now != seen:
                moved, seen = time.monotonic(), now
            if self.timeout_minutes and time.monotonic() - moved > 60 * self.timeout_minutes:
                return True
        return False

    def _progress_of(self, process: BaseProcess) -> object:
        trial = self._trial_of(process)
        if trial is None:
            return None
        history = self.search.attempts.folder_of(trial.user_attrs[PLACE]) / "history.csv"
        return history.stat().st_mtime_ns if history.exists() else trial.number

    def _trial_of(self, process: BaseProcess) -> FrozenTrial | None:
        trials = self.search.claims.study.get_trials(deepcopy=False)
        mine = [
            trial
            for trial in trials
            if trial.user_attrs.get(PROCESS, [])[:2] == [machine(), process.pid]
            and trial.number >= self._before  # earlier ones: another process with the same id
            and PLACE in trial.user_attrs
        ]
        return mine[-1] if mine else None

    def _live(self, trial: FrozenTrial) -> optuna.Trial:
        return optuna.Trial(self.search.claims.study, trial._trial_id)


def train_one(recipe: dict, moment: float, deterministic: str, precision: str, tell: Connection) -> None:
    """Trains one trial of the search that `make_study` builds from the recipe; runs in the new process.

    It stops at the `time.monotonic()` of the search's deadline, which is the same in all processes. An error
    that is not the trial's fault ends it with a code of its own, after its reason was told.
    """
    threading.Thread(target=end_with_parent, daemon=True).start()
    settle(recipe["seed"], deterministic, precision)
    try:
        search = make_study(**recipe)
        outlast_cuts(partial(search.train_one, Deadline(moment)))
    except (OSError, StalePictures, StorageInternalError) as error:
        tell.send(reason_of(error))
        sys.exit(FULL_DISK if is_full(error) else NO_FAULT)


def end_with_parent() -> None:
    """Ends this process when the one that started it dies, even by SIGKILL."""
    multiprocessing.parent_process().join()
    os._exit(1)


def end(process: BaseProcess) -> None:
    """Ends a process if it is still running: terminates it, then kills it."""
    for ask in (process.terminate, process.kill):
        if process.is_alive():
            ask()
            process.join(TIME_TO_END)


def cause(exitcode: int | None) -> str:
    """Returns a description of how a process ended, from its exit code."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        often = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{often}"
    return f"its process ended with code {exitcode}"
