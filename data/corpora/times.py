"""A column of times, in whatever way they are written, as numbers that order them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

YEAR_DAY = re.compile("%Y.?%d")  # guessed of 2024-13-01, which nobody means

#: What pandas does not guess: of e-mail, of Twitter, of Germany.
MORE = ("%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%d.%m.%y", "%b %d, %Y %I:%M %p", "%B %d, %Y")

NUM_SAMPLED = 20  # values that are looked at to find their format

UNITS = 100.0  # times of one unit, such as seconds since 1970, do not differ by more


class UnclearError(UserError):
    """Times that can be read in several ways."""


def moments(numbers: Mapping[str, int], where: str, unit: str, format: str | None) -> dict[str, float]:
    """Each of the values as a number; the later the greater. Times without a zone are in UTC.

    numbers: the number of the row where each value comes first. where: the file. format: as `strptime` takes it, or
    None, to find out. Numbers (seconds since 1970, years, 20240131) are taken by their size.

    Raises UserError for what is no time, or where it is not clear whether the day or the month comes first.
    """
    values = list(numbers)
    if format is None and all(map(NUMBER.fullmatch, values)):
        found = {value: float(value) for value in values}
        least, most = min(found.values()), max(found.values())
        if least > 1e8 and most > UNITS * least:
            one, other = (min(values, key=found.__getitem__), max(values, key=found.__getitem__))
            raise UserError(
                f"{where}: times in different units, {one[:40]!r} ({unit} {numbers[one]}) and {other[:40]!r} ({unit} "
                f"{numbers[other]}); use one unit for all"
            )
        return found
    formats = (format,) if format else _formats(values)
    parsed = {each: _parse(values, each) for each in formats}
    whole = [each for each in formats if parsed[each].notna().all()]
    if not whole:
        best = max(formats, key=lambda each: int(parsed[each].notna().sum()))
        bad = next(value for value, is_bad in zip(values, parsed[best].isna(), strict=True) if is_bad)
        raise UserError(
            f"{where}, {unit} {numbers[bad]}: {bad[:40]!r} is not a time"
            + (f" in time_format: {best}" if format else "")
            + ("" if format else "; set time_format to how they are written, such as %d/%m/%Y %H:%M")
        )
    first = whole[0]
    for other in whole[1:]:
        if differing := [i for i, same in enumerate(parsed[first] == parsed[other]) if not same]:
            value = values[differing[0]]
            one, another = (f"{parsed[each].iloc[differing[0]]:%-d %B %Y}" for each in (first, other))
            raise UnclearError(
                f"{where}, {unit} {numbers[value]}: {value[:40]!r} is {one} or {another}; write time_format: "
                f"'{first}' or '{other}'"
            )
    return dict(zip(values, parsed[first].astype("datetime64[us, UTC]").astype("int64").astype(float), strict=True))


def _formats(values: Sequence[str]) -> tuple[str, ...]:
    """Ways in which some values may be written."""
    from pandas.tseries.api import guess_datetime_format

    sample = values[:NUM_SAMPLED]
    if _parse(sample, "ISO8601").notna().all():
        return ("ISO8601",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of days before months, which is what we ask
        guessed = [guess_datetime_format(value, dayfirst=first) for value in sample for first in (False, True)]
    found = [each for each in guessed if each and not YEAR_DAY.match(each)]
    return tuple(dict.fromkeys([*found, *MORE]))


def _parse(values: Sequence[str], format: str) -> pd.Series:
    """Times in UTC; NaT for what is none."""
    import pandas as pd

    try:
        return pd.to_datetime(pd.Series(values, dtype=object), format=format, utc=True, errors="coerce")
    except ValueError as error:  # of the format itself
        raise UserError(f"time_format: {' '.join(str(error).split())[:100]}; got {format[:40]!r}") from None
