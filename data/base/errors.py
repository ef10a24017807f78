"""What a user did wrong, and how a wrong name is answered: with the nearest one that exists.

The one module that `data`, `models`, `search` and `analysis` share.
"""

import difflib
import textwrap
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend: its message is one line (or a line a mistake) that names the rule, the value
    and the nearest valid choice. Commands show it without a traceback; any other exception is a bug of ours."""


def in_short(message: str, length: int = 200) -> str:
    """A library's message on one line; of one that is longer, the sentences that begin within `length`, or as many
    words as twice that has room for."""
    line = " ".join(message.split())
    end = line.find(". ", length)
    if end < 0 or end >= 2 * length:
        return textwrap.shorten(line, 2 * length, placeholder=" ...")
    return line[:end]


def nearest(name: object, known: Iterable[object]) -> str | None:
    """The known name most like this one, ignoring case, if any is like it at all."""
    by_lower_case = {str(each).lower(): str(each) for each in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[object], *, else_all: bool = True) -> str:
    """' (did you mean 'epochs'?)' or, when nothing is near, ' (one of a, b, c)' or (not `else_all`) nothing."""
    names = [str(each) for each in known]
    near = nearest(name, names)
    return f" (did you mean {near!r}?)" if near else f" (one of {', '.join(names)})" if names and else_all else ""


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known, else UserError with the nearest that is."""
    names = list(known)
    if name not in names:
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, names)}")
    return name
