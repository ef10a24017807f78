"""Errors made by users, and suggestions of the nearest valid name.

The only module that `data`, `models`, `search` and `analysis` all share.
"""

import difflib
import textwrap
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can correct.

    The message is one line (one line per mistake if there are several) that names the rule, the value and the nearest
    valid choice. Commands print it without a traceback; any other exception is a bug in this project.
    """


def in_short(message: str, length: int = 200) -> str:
    """A library's message, shortened to one line of at most `2 * length` characters.

    A longer message is cut at the end of the sentence that contains character `length`, or between words if that
    sentence is too long.
    """
    line = " ".join(message.split())
    end = line.find(". ", length)
    if end < 0 or end >= 2 * length:
        return textwrap.shorten(line, 2 * length, placeholder=" ...")
    return line[:end]


def nearest(name: object, known: Iterable[object]) -> str | None:
    """The most similar known name, ignoring case; None if none is similar."""
    by_lower_case = {str(candidate).lower(): str(candidate) for candidate in known}
    matches = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


def did_you_mean(name: object, known: Iterable[object], *, else_all: bool = True) -> str:
    """The end of an error message: ' (did you mean 'epochs'?)'.

    If no known name is similar: ' (one of a, b, c)' with `else_all`, otherwise ''.
    """
    names = [str(candidate) for candidate in known]
    near = nearest(name, names)
    return f" (did you mean {near!r}?)" if near else f" (one of {', '.join(names)})" if names and else_all else ""


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """Returns `name` if it is known. Raises UserError, with the nearest known name, if not."""
    names = list(known)
    if name not in names:
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, names)}")
    return name
