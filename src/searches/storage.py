"""Where the trials of an Optuna search live: SQLite in the run's folder, or a database server."""

import logging
import os
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, quote_plus

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from src.running.resources import causes

logger = logging.getLogger(__name__)
T = TypeVar("T")

BEAT, SILENCE = 30, 300  # seconds between two signs of life; without any for so long, a process is dead
PATIENCE = 600  # seconds that a server may be away in the middle of a search
ATTEMPTS = 6  # at opening: two processes that create the same tables at once disturb each other
ALIASES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def storage_url(storage: str, folder: Path) -> sqlalchemy.URL:
    """Returns the address of the storage; its text hides the password.

    Args:
        storage: an address such as `postgresql://user@host/name`; empty means the one in the environment
            variable STORAGE_URL and, where there is none, `study.db` in `folder`.
        folder: of all searches of a run.

    Raises:
        ValueError: no address, or one with a password where it would be written into the notebook.
    """
    given = storage or os.environ.get("STORAGE_URL", "")
    if not given:
        return sqlalchemy.URL.create("sqlite", database=str(folder / "study.db"))
    try:
        url = sqlalchemy.make_url(given)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Without its text and its cause: either may hold a password.
        source = "storage" if storage else "the environment variable STORAGE_URL"
        raise ValueError(f"{source} is no address like postgresql://user@host:5432/name") from None
    if storage and secrets(url):
        raise ValueError(
            "storage holds a password, and parameters are written into the executed notebook; "
            "leave storage empty and put the address into the environment variable STORAGE_URL"
        )
    return url.set(drivername=ALIASES.get(url.drivername, url.drivername))


def secrets(url: sqlalchemy.URL) -> list[str]:
    """Returns the passwords in an address: its own, and those among its options."""
    options = [str(value) for key, value in url.query.items() if "pass" in key.lower()]
    return [secret for secret in [url.password, *options] if secret]


def open_study(url: sqlalchemy.URL, name: str, direction: str) -> tuple[optuna.Study, RDBStorage]:
    """Returns the study of this name, made where it is missing, and its storage.

    Raises:
        ConnectionError: the storage cannot be opened; the text says why, without a password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it writes to standard error, past our log
    options = {"connect_args": {"timeout": 60}}  # seconds that SQLite waits for another process
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    else:
        # A restarted server has cut the old connections; one that is not there is not waited for.
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    # Optuna fills in {SCHEMA_VERSION}, so that other braces must be doubled.
    address = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                storage = RDBStorage(address, options, heartbeat_interval=BEAT, grace_period=SILENCE)
            study = optuna.create_study(
                study_name=name, storage=storage, direction=direction, load_if_exists=True
            )
            if url.get_backend_name() != "sqlite":
                sqlalchemy.event.listen(storage.engine, "do_connect", connect_patiently)
            return study, storage
        except Exception as error:  # each kind of database has errors of its own
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            lasting = isinstance(error, ImportError) or attempt == ATTEMPTS
        if lasting:
            break
        time.sleep(random.uniform(0.1, 0.5))
    for secret in secrets(url):
        for written in (secret, quote(secret), quote_plus(secret)):
            text = text.replace(written, "***")
    driver = " (pip install 'psycopg[binary]')" if "ImportError" in text and "psycopg" in str(url) else ""
    raise ConnectionError(f"cannot open the storage {shown(url)}: {text}{driver}")


def connect_patiently(dialect, record, arguments: list, settings: dict):
    """Returns a connection to a server that may be away for a while: it is waited for, `PATIENCE` seconds."""
    give_up_at, said = time.monotonic() + PATIENCE, False
    while True:
        try:
            return dialect.connect(*arguments, **settings)
        except dialect.loaded_dbapi.OperationalError:  # refused, or starting up
            if time.monotonic() > give_up_at:
                raise
        if not said:
            logger.warning(
                "the storage does not answer; it is waited for, %d minutes at most", PATIENCE // 60
            )
        said = True
        time.sleep(1.0)


def outlast_cuts(act: Callable[[], T]) -> T:
    """Returns what `act` gives; where the server goes away in the middle of it, it is done once more.

    What was under way then may have been written or not, so `act` has to look at the storage anew.
    """
    while True:
        try:
            return act()
        except optuna.exceptions.StorageInternalError as error:
            if not _was_cut(error):
                raise
            logger.warning("the storage went away in the middle of something; it is asked again")


def _was_cut(error: BaseException) -> bool:
    """Returns whether a lost connection is behind an error, or behind another one that it led to.

    Where Optuna reads the trials it meets one by reading them again, in the transaction that is lost.
    """
    return any(getattr(cause, "connection_invalidated", False) for cause in causes(error))


def shown(url: sqlalchemy.URL) -> str:
    """Returns an address to be read by people: no user's options, no password."""
    return url.set(query={}).render_as_string(hide_password=True)
