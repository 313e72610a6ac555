"""`python -m serving.replay`: traffic for an environment that has no users, drawn from the bundle's own reference.

Rows are synthetic: each column is drawn by itself from the counts in `reference.json`, which holds no rows of people.
Exit codes: 0 it ran its time or was stopped by a signal, 1 it never got an answer, 64 a setting that cannot be used,
65 a bundle that does not say what to send.
"""

import http.client
import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import accumulate, count, pairwise
from pathlib import Path
from random import Random
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from serving import bundle, settings
from serving.bundle import BundleError
from serving.faults import bounds
from serving.settings import SettingsError
from serving.signature import Input, Signature

SEED = 20130101
CONNECTIONS = 4
REQUESTS_PER_CONNECTION = 10
TIMEOUT = 10.0
NO_ANSWER, USAGE, BAD_BUNDLE = 1, 64, 65

Draw: TypeAlias = Callable[[Random], Any]


class Settings(msgspec.Struct, frozen=True):
    """What to send where: read from FLIGHTLINE_REPLAY_URL and so on. `replay_rate` is requests a second, one row each.

    `bundle` is the folder whose signature and reference say what to send.
    """

    bundle: Annotated[str, Meta(min_length=1)] = "build/bundle"
    replay_url: Annotated[str, Meta(pattern=r"^http://[^/?#\s]+/?$")] = "http://127.0.0.1:8000"
    replay_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    replay_rate: Annotated[float, Meta(gt=0, le=1000)] = 20.0


class Told(msgspec.Struct, frozen=True):
    """What a bundle says about traffic: the columns, and how their values are distributed."""

    signature: Signature
    reference: Mapping[str, Any]


def main() -> int:
    """Send until the time is over or a signal comes, say in a line what came of it, and return the exit code."""
    try:
        chosen = settings.read_as(Settings, os.environ)
        told = read(chosen)
    except SettingsError as error:
        return _complain(error, USAGE)
    except BundleError as error:
        return _complain(error, BAD_BUNDLE)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    answers, seconds = send(told, chosen, stop)
    sys.stdout.write(summary(answers, seconds) + "\n")
    return 0 if any(isinstance(outcome, int) for outcome in answers) else NO_ANSWER


def read(chosen: Settings) -> Told:
    """The bundle's signature and reference, after checking its files. Raises BundleError."""
    path = Path(chosen.bundle)
    bundle.check_files(path)
    try:
        agreed = msgspec.json.decode((path / "signature.json").read_bytes(), type=Signature)
        return Told(agreed, msgspec.json.decode((path / "reference.json").read_bytes(), type=dict[str, Any]))
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path}: {error}; a newer Flightline may have written it") from error


def rows(signature: Signature, reference: Mapping[str, Any], seed: int = SEED) -> Iterator[dict[str, Any]]:
    """Rows without end that a server of this signature accepts; the same seed gives the same rows.

    Numbers fall evenly between the edges of the bin that was drawn, and are the value of a bin that has but one; a
    column that the reference does not describe is always its own example.
    """
    described = reference.get("features", {})
    draws = {one.name: _draw(one, described.get(one.name, {})) for one in signature.inputs}
    random = Random(seed)  # noqa: S311 - not a secret: the same rows every time are what is wanted
    while True:
        yield {name: draw(random) for name, draw in draws.items()}


def _draw(one: Input, described: Mapping[str, Any]) -> Draw:
    """How to draw a value of this column: as often null as in training, where the server takes that."""
    counts = described.get("counts", ())
    present = sum(counts.values() if isinstance(counts, Mapping) else counts)
    if not present:
        return lambda _: one.example
    if one.type == "category":
        values = _category(one, counts)
    else:
        values = _number(one, described["edges"], list(accumulate(counts)))
    nulls = described.get("nulls", 0) if one.nullable else 0
    share = nulls / (nulls + present)
    return lambda random: None if random.random() < share else values(random)


def _category(one: Input, counts: Mapping[str, int]) -> Draw:
    legal = {name: many for name, many in counts.items() if many and (one.unseen == "other" or name in one.categories)}
    if not legal:
        return lambda _: one.example
    names, weights = list(legal), list(accumulate(legal.values()))
    return lambda random: random.choices(names, cum_weights=weights)[0]


def _number(one: Input, edges: list[float], weights: list[int]) -> Draw:
    """Evenly within a bin drawn by its count; whole numbers and the signature's limits are kept to.

    A bin has its left edge, and of floats or whole numbers none but that where the right one is next to it.
    """
    bins = list(pairwise(edges))
    low, high = bounds(one)

    def draw(random: Random) -> float:
        left, right = random.choices(bins, cum_weights=weights)[0]
        last = math.nextafter(right, -math.inf)
        return min(max(min(random.uniform(left, right), last), low), high)

    def whole(random: Random) -> int:
        left, right = random.choices(bins, cum_weights=weights)[0]
        first = math.ceil(left)
        number = random.randint(first, max(math.ceil(right) - 1, first))
        return min(max(number, math.ceil(low)), math.floor(high))

    return whole if one.type == "integer" else draw


def send(told: Told, chosen: Settings, stop: threading.Event) -> tuple[Counter[int | str], float]:
    """Send at the rate for the time; returns how many requests ended how, and the seconds it took."""
    started = time.monotonic()
    deadline = started + chosen.replay_seconds
    tallies: list[Counter[int | str]] = [Counter() for _ in range(CONNECTIONS)]
    clients = [
        threading.Thread(target=_client, args=(told, chosen, number, tally, partial(_pause, stop, deadline)))
        for number, tally in enumerate(tallies)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(tallies, Counter()), time.monotonic() - started


def _pause(stop: threading.Event, deadline: float, until: float) -> bool:
    """Wait until then, the deadline or the signal; False where it is time to stop."""
    stop.wait(max(0.0, min(until, deadline) - time.monotonic()))
    return not stop.is_set() and time.monotonic() < deadline


def _client(
    told: Told, chosen: Settings, number: int, tally: Counter[int | str], pause: Callable[[float], bool]
) -> None:
    """One connection at a time, a new one every few requests: whoever balances connections deals it anew."""
    pace = CONNECTIONS / chosen.replay_rate
    begun = time.monotonic() + number * pace / CONNECTIONS
    made = rows(told.signature, told.reference, SEED + number)
    connection = _connection(chosen)
    for sent in count():
        if not pause(begun + sent * pace):
            break
        if sent % REQUESTS_PER_CONNECTION == 0:
            connection.close()
        tally[_ask(connection, next(made), f"replay-{number}-{sent}")] += 1
    connection.close()


def _connection(chosen: Settings) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(chosen.replay_url).netloc, timeout=TIMEOUT)


def _ask(connection: http.client.HTTPConnection, row: Mapping[str, Any], name: str) -> int | str:
    """Post one row; the status, or what went wrong where no answer came. The id tells these rows apart in the log."""
    try:
        headers = {"Content-Type": "application/json", "X-Request-Id": name}
        connection.request("POST", "/predict", msgspec.json.encode(row), headers)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return type(error).__name__


def summary(answers: Mapping[int | str, int], seconds: float) -> str:
    """One line: how many requests, and how they ended."""
    ended = ", ".join(f"{many} {outcome}" for outcome, many in sorted(answers.items(), key=lambda one: str(one[0])))
    return f"replay: {sum(answers.values())} requests in {seconds:.1f} s: {ended or 'none was sent'}"


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"flightline replay: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
