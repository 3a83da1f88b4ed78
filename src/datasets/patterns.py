"""The user's regular expressions: what they find in a picture's path is its class or its group."""

import re
import unicodedata

from src.running.messages import one_line, quote


def compile_pattern(pattern: str, parameter: str, source: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern:
    """Returns the compiled regular expression.

    Args:
        pattern: its text.
        parameter: the parameter it was given as, `class_pattern` or `group_pattern`.
        source: where it was given, for the error message.
        flags: passed to `re.compile`.

    Raises:
        ValueError: the pattern is not a valid regular expression.
    """
    try:
        return re.compile(unicodedata.normalize("NFC", pattern), flags)
    except (re.error, OverflowError) as error:
        raise ValueError(
            f"{source}: {parameter} {quote(pattern)} is no regular expression: {one_line(error)}"
        ) from error


def find_text(expression: re.Pattern, name: str) -> str:
    """Returns an expression's first match in a name: its groups, joined by spaces, or else the whole match.

    "" if nothing matches or the match is empty. Accented letters count as single characters, as they are
    typed (NFC), although macOS decomposes them.
    """
    match = expression.search(unicodedata.normalize("NFC", name))
    return " ".join(filter(None, match.groups() or [match[0]])) if match else ""


def find_class(pattern: str, name: str) -> str:
    """Returns the class that a `class_pattern` finds in a path, in lower case; "" if it finds none.

    Matching ignores case, as all labels do.

    Raises:
        ValueError: the pattern is not a valid regular expression.
    """
    return find_text(compile_pattern(pattern, "class_pattern", "the data", re.IGNORECASE), name).lower()


def name_class(text: str) -> str:
    """Returns the name of a class as tables hold it: in lower case, accented letters as single characters."""
    return unicodedata.normalize("NFC", text).lower()
