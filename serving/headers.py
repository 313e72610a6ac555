"""What a request's headers say of its rows."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from serving.problems import BAD_HEADER, RefusedError

EVENT_TIME = "x-event-time"
LONGEST_SHOWN = 80
_Moment = Annotated[datetime, Meta(tz=True)]


def event_time(values: list[str]) -> datetime:
    """The moment in UTC that the rows are about, from the values of X-Event-Time. Raises RefusedError unless it is one.

    RFC 3339, section 5.6, with an offset. How far it is from now is not judged: whoever reads the log knows of skew.
    """
    given = ", ".join(values)  # RFC 9110, section 5.3; values that are not ASCII do not come here at all
    try:
        return msgspec.convert(given, _Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        wanted = "a time of RFC 3339 with an offset, as 2013-04-01T12:00:00Z or 2013-04-01T08:00:00-04:00"
        raise RefusedError(
            BAD_HEADER, f"The header X-Event-Time is {given[:LONGEST_SHOWN]!r}; send {wanted}."
        ) from error
