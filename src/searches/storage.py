"""Where the trials of an Optuna search are stored: SQLite in the run's folder, or a database server."""

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

BEAT, SILENCE = 30, 300  # seconds between heartbeats; seconds without one until a process counts as dead
PATIENCE = 600  # seconds that a server may be unreachable in the middle of a search
ATTEMPTS = 6  # to open the storage: processes that create the same tables at once disturb each other
ALIASES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def storage_url(storage: str, folder: Path) -> sqlalchemy.URL:
    """Returns the URL of the storage; printing it hides the password.

    Args:
        storage: a URL such as `postgresql://user@host/name`; empty means the environment variable
            STORAGE_URL or, if that is not set either, `study.db` in `folder`.
        folder: of all searches of a run.

    Raises:
        ValueError: not a URL, or one with a password where it would be written into the notebook.
    """
    given = storage or os.environ.get("STORAGE_URL", "")
    if not given:
        return sqlalchemy.URL.create("sqlite", database=str(folder / "study.db"))
    try:
        url = sqlalchemy.make_url(given)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Without the URL or the cause: either may contain a password.
        source = "storage" if storage else "the environment variable STORAGE_URL"
        raise ValueError(f"{source} is no address like postgresql://user@host:5432/name") from None
    if storage and secrets(url):
        raise ValueError(
            "storage holds a password, and parameters are written into the executed notebook; "
            "leave storage empty and put the address into the environment variable STORAGE_URL"
        )
    return url.set(drivername=ALIASES.get(url.drivername, url.drivername))


def secrets(url: sqlalchemy.URL) -> list[str]:
    """Returns the passwords in a URL: its own, and those among its query options."""
    options = [str(value) for key, value in url.query.items() if "pass" in key.lower()]
    return [secret for secret in [url.password, *options] if secret]


def open_study(url: sqlalchemy.URL, name: str, direction: str) -> tuple[optuna.Study, RDBStorage]:
    """Returns the study of this name, created if missing, and its storage.

    Raises:
        ConnectionError: the storage cannot be opened; the message says why, without any password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it writes to standard error, bypassing our log
    options = {"connect_args": {"timeout": 60}}  # seconds that SQLite waits for another process
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    else:
        # Pinging detects connections cut by a server restart; the timeout limits the wait for an absent one.
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    # Optuna substitutes {SCHEMA_VERSION}, so all other braces must be doubled.
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
        except Exception as error:  # every database driver has its own errors
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if isinstance(error, ImportError) or attempt == ATTEMPTS:
                break
        time.sleep(random.uniform(0.1, 0.5))
    for secret in secrets(url):
        for written in (secret, quote(secret), quote_plus(secret)):
            text = text.replace(written, "***")
    driver = " (pip install 'psycopg[binary]')" if "ImportError" in text and "psycopg" in str(url) else ""
    raise ConnectionError(f"cannot open the storage {shown(url)}: {text}{driver}")


def connect_patiently(dialect, record, arguments: list, settings: dict):
    """Returns a connection, waiting up to `PATIENCE` seconds for a server that is temporarily unreachable."""
    give_up_at, said = time.monotonic() + PATIENCE, False
    while True:
        try:
            return dialect.connect(*arguments, **settings)
        except dialect.loaded_dbapi.OperationalError:  # refused, or starting up
            if time.monotonic() > give_up_at:
                raise
        if not said:
            logger.warning("the storage does not answer; waiting up to %d minutes", PATIENCE // 60)
        said = True
        time.sleep(1.0)


def outlast_cuts(act: Callable[[], T]) -> T:
    """Returns the result of `act`, calling it again whenever the server goes away in the middle of it.

    An interrupted write may or may not have taken effect, so `act` must read the storage afresh each time.
    """
    while True:
        try:
            return act()
        except optuna.exceptions.StorageInternalError as error:
            if not _was_cut(error):
                raise
            logger.warning("the connection to the storage was lost; retrying")


def _was_cut(error: BaseException) -> bool:
    """Returns whether a lost connection is among the causes of an error.

    It may be a few causes deep: when reading trials fails, Optuna retries in the transaction that is lost.
    """
    return any(getattr(cause, "connection_invalidated", False) for cause in causes(error))


def shown(url: sqlalchemy.URL) -> str:
    """Returns a URL for display: no query options, and the password hidden."""
    return url.set(query={}).render_as_string(hide_password=True)
