"""When a CronJob or CronWorkflow looks: the five fields of cron, as Kubernetes takes them."""

import re

_FIELDS = {
    "minute": (0, 59, ""),
    "hour": (0, 23, ""),
    "day of the month": (1, 31, ""),
    "month": (1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    "day of the week": (0, 6, "sun mon tue wed thu fri sat"),
}
_PART = re.compile(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?")
_FIX = "write minute, hour, day of the month, month and day of the week, as '30 6 * * *' for 6:30 each day"


def checked(schedule: str) -> str:
    """The schedule. Raises ValueError saying which field is none, and how it is written."""
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"it has {len(fields)} fields, and cron has {len(_FIELDS)}; {_FIX}")
    for text, (name, (low, high, names)) in zip(fields, _FIELDS.items(), strict=True):
        if not all(_fits(part, low, high, names.split()) for part in text.split(",")):
            raise ValueError(f"{text!r} is no {name} from {low} to {high}; {_FIX}")
    return schedule


def _fits(part: str, low: int, high: int, names: list[str]) -> bool:
    """Whether this is `*`, one of the field, or a range of them, each with a step or without."""
    found = _PART.fullmatch(part)
    if found is None:
        return False
    ends = [_number(end, low, names) for end in found.groups()[:2] if end is not None]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _number(text: str, low: int, names: list[str]) -> int:
    """What a number or a name stands for; -1 for neither."""
    if text.lower() in names:
        return low + names.index(text.lower())
    return int(text) if text.isascii() and text.isdigit() else -1
