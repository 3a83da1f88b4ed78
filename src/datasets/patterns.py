"""Regular expressions of the user's own: what they find in a picture's name is its class, or its group."""

import re

from src.running.messages import one_line, quote


def compile_pattern(pattern: str, parameter: str, source: str) -> re.Pattern:
    """Returns a regular expression.

    Args:
        pattern: its text.
        parameter: what it was given as, `class_pattern` or `group_pattern`.
        source: where it was given, for the message.

    Raises:
        ValueError: it is no regular expression.
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(
            f"{source}: {parameter} {quote(pattern)} is no regular expression: {one_line(error)}"
        ) from error


def find_text(expression: re.Pattern, name: str) -> str:
    """Returns what an expression first finds in a name: its groups, joined, or the whole match without any.

    "" where it finds nothing, or an empty text.
    """
    match = expression.search(name)
    return " ".join(filter(None, match.groups() or [match[0]])) if match else ""
