"""One of a known set of names, or a ValueError that says which one was probably meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is like it at all."""
    by_lower_case = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return by_lower_case[near[0]] if near else None


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known, else ValueError."""
    names = list(known)
    if name in names:
        return name
    near = nearest(name, names)
    advice = f"did you mean {near!r}?" if near else f"one of {', '.join(names)}"
    raise ValueError(f"unknown {what} {name!r} ({advice})")
