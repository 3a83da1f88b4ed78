"""How messages quote untrusted text: on one line and not at any length; and what must not be quoted."""

import re
from collections.abc import Iterable

PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@|[?&]\w*pass\w*=", re.IGNORECASE)
NO_PASSWORDS = (
    "a setting holds a password, and settings are written into the run's folder and its notebooks; leave "
    "storage empty and put the address into the environment variable STORAGE_URL"
)


def one_line(text: object, most: int = 2_000) -> str:
    """Returns a text, or an error's message, with whitespace collapsed to single spaces, cut to that length.

    An error without a message is represented by its class name.
    """
    line = " ".join(str(text).split())
    if not line and isinstance(text, Exception):
        line = type(text).__name__
    return line if len(line) <= most else f"{line[:most]}…"


def quote(value: object, most: int = 60) -> str:
    """Returns a value's repr, on one line, cut to that length."""
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to write thousands of digits
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def refuse_passwords(settings: Iterable[object]) -> None:
    """Raises ValueError, without quoting it, if a text setting contains an address with a password."""
    if any(isinstance(setting, str) and PASSWORD.search(setting) for setting in settings):
        raise ValueError(NO_PASSWORDS)
