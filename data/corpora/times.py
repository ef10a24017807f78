"""Parses a column of times, in any common format, into sortable numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")

YEAR_DAY = re.compile("%Y.?%d")  # pandas' guess for 2024-13-01, never the intended format

#: Formats that pandas does not guess: e-mail, Twitter, German dates, ...
MORE = ("%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%d.%m.%y", "%b %d, %Y %I:%M %p", "%B %d, %Y")

NUM_SAMPLED = 20  # values from which the format is guessed

UNITS = 100.0  # maximum ratio of times in the same unit, such as seconds since 1970


class UnclearError(UserError):
    """Times with an ambiguous format."""


def moments(numbers: Mapping[str, int], where: str, unit: str, format: str | None) -> dict[str, float]:
    """Value -> number, greater for later times. Times without a time zone are taken as UTC.

    numbers: value -> number of the first row that has it. where: the file, for messages. unit: 'line' or 'row', for
    messages. format: as for `strptime`; None detects it. Numeric values (seconds since 1970, years, 20240131) are
    taken as they are.

    Raises UserError for an invalid time, and UnclearError if the order of day and month is ambiguous.
    """
    values = list(numbers)
    if format is None and all(map(NUMBER.fullmatch, values)):
        times = {value: float(value) for value in values}
        least, most = min(times.values()), max(times.values())
        if least > 1e8 and most > UNITS * least:
            one, other = (min(values, key=times.__getitem__), max(values, key=times.__getitem__))
            raise UserError(
                f"{where}: times in different units, {one[:40]!r} ({unit} {numbers[one]}) and {other[:40]!r} ({unit} "
                f"{numbers[other]}); use one unit for all"
            )
        return times
    formats = (format,) if format else _formats(values)
    parsed = {candidate: _parse(values, candidate) for candidate in formats}
    whole = [candidate for candidate in formats if parsed[candidate].notna().all()]
    if not whole:
        best = max(formats, key=lambda candidate: int(parsed[candidate].notna().sum()))
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
            one, another = (f"{parsed[format].iloc[differing[0]]:%-d %B %Y}" for format in (first, other))
            raise UnclearError(
                f"{where}, {unit} {numbers[value]}: {value[:40]!r} is {one} or {another}; write time_format: "
                f"'{first}' or '{other}'"
            )
    return dict(zip(values, parsed[first].astype("datetime64[us, UTC]").astype("int64").astype(float), strict=True))


def _formats(values: Sequence[str]) -> tuple[str, ...]:
    """Candidate formats of the values."""
    from pandas.tseries.api import guess_datetime_format

    sample = values[:NUM_SAMPLED]
    if _parse(sample, "ISO8601").notna().all():
        return ("ISO8601",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the order of days and months, which is tried both ways
        guessed = [guess_datetime_format(value, dayfirst=first) for value in sample for first in (False, True)]
    formats = [guess for guess in guessed if guess and not YEAR_DAY.match(guess)]
    return tuple(dict.fromkeys([*formats, *MORE]))


def _parse(values: Sequence[str], format: str) -> pd.Series:
    """Times in UTC; NaT for invalid values."""
    import pandas as pd

    try:
        return pd.to_datetime(pd.Series(values, dtype=object), format=format, utc=True, errors="coerce")
    except ValueError as error:  # an invalid format
        raise UserError(f"time_format: {' '.join(str(error).split())[:100]}; got {format[:40]!r}") from None
