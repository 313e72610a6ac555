"""Which day counts as today: the option that says it; without it the clock of the machine, which is asked only here."""

from datetime import UTC, date, datetime, time
from typing import Annotated

import typer

DAY = ["%Y-%m-%d"]

AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=DAY, envvar="FLIGHTLINE_AS_OF", help="The day that counts as today, in UTC."),
]


def today(as_of: datetime | None) -> date:
    """The day that was given, else today in UTC."""
    return (as_of or datetime.now(UTC)).date()


def now(as_of: datetime | None) -> datetime:
    """The last moment of a day that was given, so that whatever happened on it is past; else now, in UTC."""
    return datetime.now(UTC) if as_of is None else datetime.combine(as_of.date(), time.max, UTC)
