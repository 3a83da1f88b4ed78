"""Regular expressions of the user's own: what they find in a picture's path is its class, or its group."""

import re
import unicodedata

from src.running.messages import one_line, quote


def compile_pattern(pattern: str, parameter: str, source: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern:
    """Returns a regular expression.

    Args:
        pattern: its text.
        parameter: what it was given as, `class_pattern` or `group_pattern`.
        source: where it was given, for the message.
        flags: of `re`.

    Raises:
        ValueError: it is no regular expression.
    """
    try:
        return re.compile(unicodedata.normalize("NFC", pattern), flags)
    except (re.error, OverflowError) as error:
        raise ValueError(
            f"{source}: {parameter} {quote(pattern)} is no regular expression: {one_line(error)}"
        ) from error


def find_text(expression: re.Pattern, name: str) -> str:
    """Returns what an expression first finds in a name: its groups, joined, or the whole match without any.

    "" where it finds nothing, or an empty text. Letters with accents are one character each, as they are
    typed (NFC), though macOS parts them.
    """
    match = expression.search(unicodedata.normalize("NFC", name))
    return " ".join(filter(None, match.groups() or [match[0]])) if match else ""


def find_class(pattern: str, name: str) -> str:
    """Returns the class that a `class_pattern` finds in a path, in lower case; "" where it finds none.

    Upper and lower case are one to it, as to all labels.

    Raises:
        ValueError: it is no regular expression.
    """
    return find_text(compile_pattern(pattern, "class_pattern", "the data", re.IGNORECASE), name).lower()
