"""Who trains which trial: exactly `max_trials` of them, however many processes share an Optuna study.

Every trial has a place, counted from 0, which names the trial's folder and seeds its training. Places are
not handed out, since two processes could do that at once: the storage numbers the trials in one order that
all processes see, and each process derives from it who has which place.
"""

import math
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import psutil
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from src.searches.search_folder import IN_VAIN, MOST_DEATHS
from src.searches.storage import BEAT, SILENCE

# User attributes of a trial, as the dashboard shows them.
PLACE = "place"
VALUES = "hyperparameters"  # set once the network has been built from them
REASON = "reason"  # why a trial was pruned or failed
FILES = "files"  # what a trial has left in its folder, by name
INTERRUPTED = "interrupted"  # why it will be taken again
AGAIN = "takes again"  # number of the interrupted trial whose place and values it takes over
SURPLUS = "surplus"  # came too late for a place
PROCESS = "process"  # machine, process id, a unique mark, start time of the process, that of the trial
CLOCK = 60.0  # seconds by which a process's start time may appear to shift when the clock is adjusted


def places(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trial that currently holds each place, in the order of the places.

    An interrupted trial is replaced by the first trial that takes it again.
    """
    ours = sorted((trial for trial in trials if PROCESS in trial.user_attrs), key=lambda trial: trial.number)
    successors: dict[int, FrozenTrial] = {}
    for trial in ours:
        if AGAIN in trial.user_attrs:
            successors.setdefault(trial.user_attrs[AGAIN], trial)
    found = []
    for trial in ours:
        if AGAIN not in trial.user_attrs and SURPLUS not in trial.user_attrs:
            while trial.number in successors:
                trial = successors[trial.number]
            found.append(trial)
    return found


def running_and_taken_again(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trials still marked as running in the storage although another has taken their place."""
    overtaken = {trial.user_attrs.get(AGAIN) for trial in trials}
    return [trial for trial in trials if trial.number in overtaken and trial.state is TrialState.RUNNING]


class Claims:
    """Claims the trials of a study for this process, one at a time."""

    def __init__(self, study: optuna.Study, storage: RDBStorage, max_trials: int):
        """Stores the arguments."""
        self.study, self.storage, self.max_trials = study, storage, max_trials

    def trials(self) -> list[FrozenTrial]:
        """Returns the trials that have been claimed, one per place, in order."""
        taken = places(self.study.get_trials(deepcopy=False))
        return [trial for trial in taken if PLACE in trial.user_attrs]

    def interrupted(self) -> list[FrozenTrial]:
        """Returns the trials that were cut short and that no process is training, in order of place."""
        taken = places(self.study.get_trials(deepcopy=False))[: self.max_trials]
        silent = self.silent_trials()
        return [trial for trial in taken if is_interrupted(trial, silent)]

    def has_one_free(self) -> bool:
        """Returns whether a trial is unclaimed or interrupted."""
        taken = places(self.study.get_trials(deepcopy=False))
        return len(taken) < self.max_trials or bool(self.interrupted())

    def take(self) -> optuna.Trial | None:
        """Returns the next trial to train, interrupted ones first; None if all are taken."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            taken = places(trials)[: self.max_trials]
            interrupted = self.interrupted()
            if not interrupted and len(taken) == self.max_trials:
                return None
            trial = self._add(interrupted[0] if interrupted else None)
            if trial and interrupted and deaths(trials, interrupted[0]) >= MOST_DEATHS:
                trial.set_user_attr(REASON, IN_VAIN)
                self.study.tell(trial, state=TrialState.FAIL)
            elif trial:
                return trial

    def _add(self, interrupted: FrozenTrial | None) -> optuna.Trial | None:
        mark = [machine(), os.getpid(), uuid.uuid4().hex, psutil.Process().create_time(), time.time()]
        parts = {"user_attrs": {PROCESS: mark}}
        if interrupted:
            parts["user_attrs"][AGAIN] = interrupted.number
            if VALUES in interrupted.user_attrs:
                parts["user_attrs"][VALUES] = interrupted.user_attrs[VALUES]
                parts.update(params=interrupted.params, distributions=interrupted.distributions)
        self.study.add_trial(optuna.create_trial(state=TrialState.RUNNING, **parts))
        trials = self.study.get_trials(deepcopy=False)
        mine = next(trial for trial in trials if trial.user_attrs.get(PROCESS) == mark)
        numbers = [trial.number for trial in places(trials)[: self.max_trials]]
        trial = optuna.Trial(self.study, mine._trial_id)
        if mine.number not in numbers:
            trial.set_user_attr(SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        self.storage.record_heartbeat(mine._trial_id)
        trial.set_user_attr(PLACE, numbers.index(mine.number))
        for overtaken in running_and_taken_again(trials):  # or the sampler would count it as running
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                self.study.tell(overtaken.number, state=TrialState.FAIL, skip_if_finished=True)
        return trial

    def silent_trials(self) -> list[int]:
        """Returns the ids of the running trials whose process has sent no heartbeat for too long."""
        # Optuna's own fail_stale_trials would also fail live trials of this machine after it has slept.
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage._get_stale_trial_ids(study_id)


def is_interrupted(trial: FrozenTrial, silent: list[int]) -> bool:
    """Returns whether a trial was cut short and no process is training it now.

    Args:
        trial: any trial.
        silent: see `Claims.silent_trials`.
    """
    if trial.state is not TrialState.RUNNING:
        return INTERRUPTED in trial.user_attrs
    host, process, _, *times = trial.user_attrs[PROCESS]
    if host != machine():
        has_begun = PLACE in trial.user_attrs or time.time() - max(times, default=math.inf) < SILENCE
        return not has_begun or trial._trial_id in silent
    # A process takes its next trial only after ending its last one.
    return process == os.getpid() or not is_alive(process, *times[:1])


def is_alive(process: int, started: float | None = None) -> bool:
    """Returns whether a process of this machine is running; a zombie is not.

    Args:
        process: its id, which may belong to another process after the machine or container restarts.
        started: when it was started, in seconds since 1970, if known.
    """
    try:
        found = psutil.Process(process)
        is_same = started is None or abs(found.create_time() - started) < CLOCK
        return is_same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def machine() -> str:
    """Returns the name of this machine or, inside a container, of the container."""
    namespace = Path("/proc/self/ns/pid")  # process ids are only comparable within one namespace
    return f"{platform.node()} {os.readlink(namespace) if namespace.exists() else ''}".strip()


def deaths(trials: list[FrozenTrial], trial: FrozenTrial | None) -> int:
    """Returns how many attempts in a row died with their process without getting further than before."""
    number, attempts = {trial.number: trial for trial in trials}, []
    while trial is not None:
        attempts.append(trial)
        trial = number.get(trial.user_attrs.get(AGAIN))
    count = furthest = 0
    for attempt in reversed(attempts):
        done = max(attempt.intermediate_values, default=0)
        count = 0 if done > furthest else count + (INTERRUPTED not in attempt.user_attrs)
        furthest = max(furthest, done)
    return count


@contextmanager
def heartbeat(storage: RDBStorage, trial: optuna.Trial) -> Iterator[None]:
    """Sends a heartbeat while a trial is being trained, for the processes on other machines."""
    ended = threading.Event()

    def beat():
        while not ended.wait(BEAT):
            with suppress(Exception):  # a temporary outage of the storage must not end the heartbeat for good
                storage.record_heartbeat(trial._trial_id)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
