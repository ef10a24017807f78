"""How a wrong name is answered: with the nearest one that exists."""

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[object]) -> str | None:
    """The known name most like this one, ignoring case, if any is like it at all."""
    by_lower_case = {str(each).lower(): str(each) for each in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    return by_lower_case[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """' (did you mean 'epochs'?)' or, when nothing is near, ' (one of a, b, c)'."""
    names = [str(each) for each in known]
    near = nearest(name, names)
    return f" (did you mean {near!r}?)" if near else f" (one of {', '.join(names)})"


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known, else ValueError with the nearest that is."""
    names = list(known)
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}{did_you_mean(name, names)}")
    return name
