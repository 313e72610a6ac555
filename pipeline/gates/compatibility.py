"""Whether a caller of production can go on as before: what differs between two signatures, and which of it breaks.

The order of inputs is no difference: requests are by name. A request whose key is absent is refused, so a new input
breaks every caller.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.gates import decide
from pipeline.verdict import Check
from serving.signature import Input, Output, Signature

_NAME = "request and response"


@dataclass(frozen=True)
class Change:
    """One difference in words, and whether it breaks callers."""

    words: str
    breaks: bool


def judge(candidate: Signature, production: Signature) -> Check:
    """A break needs a higher API major; a lower one than production's never passes."""
    found = tuple(changes(candidate, production))
    breaks = [one.words for one in found if one.breaks]
    soft = [one.words for one in found if not one.breaks]
    if candidate.api < production.api:
        reason = f"the candidate speaks API {candidate.api}, production {production.api}; an API major never goes back"
        return decide.judged(_NAME, False, reason, statistic=len(breaks), threshold=0)
    if breaks and candidate.api == production.api:
        reason = (
            f"breaks callers of API {production.api}: {'; '.join(breaks)}; undo it or raise `api` in the model's card"
        )
        return decide.judged(_NAME, False, reason, statistic=len(breaks), threshold=0)
    listed = "; ".join([*breaks, *soft]) or "nothing changed"
    major = f"API {candidate.api}" if candidate.api == production.api else f"new API {candidate.api}"
    return decide.judged(_NAME, True, f"{major}: {listed}", statistic=len(breaks), threshold=0)


def changes(candidate: Signature, production: Signature) -> Iterator[Change]:
    """Every difference a caller could notice, inputs first."""
    new, old = ({one.name: one for one in signature.inputs} for signature in (candidate, production))
    yield from (Change(f"input {name!r} was removed", True) for name in old if name not in new)
    yield from (
        Change(f"input {name!r} is new and every request must carry it", True) for name in new if name not in old
    )
    for name in old:
        if name in new:
            yield from _input(new[name], old[name])
    if candidate.model != production.model:
        yield Change(f"the model's name changed: {production.model!r} is now {candidate.model!r}", True)
    if candidate.task != production.task:
        yield Change(f"the task changed: {production.task} is now {candidate.task}", True)
    yield from _output(candidate.output, production.output)


def _input(new: Input, old: Input) -> Iterator[Change]:
    subject = f"input {old.name!r}"
    if new.type != old.type:
        yield Change(f"{subject} was {_a(old.type)} and is now {_a(new.type)}", True)
    if new.unit != old.unit:
        yield Change(f"{subject} changed its unit: {old.unit or 'none'} is now {new.unit or 'none'}", True)
    if new.nullable != old.nullable:
        yield Change(f"{subject} may {'now' if new.nullable else 'no longer'} be null", not new.nullable)
    yield from _range(subject, new, old, narrower_breaks=True)
    if new.type == old.type == "category":
        yield from _categories(subject, new, old)


def _categories(subject: str, new: Input, old: Input) -> Iterator[Change]:
    gone, added = set(old.categories) - set(new.categories), set(new.categories) - set(old.categories)
    if gone:
        yield Change(f"{subject} no longer knows {decide.named(sorted(gone))}", new.unseen == "refuse")
    if added:
        yield Change(f"{subject} also knows {decide.named(sorted(added))}", False)
    if new.unseen != old.unseen:
        refuses = new.unseen == "refuse"
        yield Change(f"{subject} now {'refuses' if refuses else 'accepts'} unknown categories", refuses)


def _output(new: Output, old: Output) -> Iterator[Change]:
    if new.description != old.description:
        yield Change(f"the score's meaning changed: {old.description!r} is now {new.description!r}", True)
    if new.unit != old.unit:
        yield Change(f"the score's unit changed: {old.unit or 'none'} is now {new.unit or 'none'}", True)
    if (new.threshold is None) != (old.threshold is None):
        yield Change(f"the decision is {'gone' if new.threshold is None else 'new'} in the response", True)
    elif new.threshold != old.threshold:
        yield Change(f"the threshold moved from {old.threshold} to {new.threshold}", False)
    yield from _range("the score", new, old, narrower_breaks=False)


def _range(subject: str, new: Input | Output, old: Input | Output, *, narrower_breaks: bool) -> Iterator[Change]:
    """A narrower request range refuses what was accepted; a wider response range sends what was never sent."""
    new_low, new_high = _bounds(new)
    old_low, old_high = _bounds(old)
    moved = f"{old_low:g} to {old_high:g} is now {new_low:g} to {new_high:g}"
    if new_low > old_low or new_high < old_high:
        yield Change(f"{subject} has a narrower range: {moved}", narrower_breaks)
    if new_low < old_low or new_high > old_high:
        yield Change(f"{subject} has a wider range: {moved}", not narrower_breaks)


def _bounds(one: Input | Output) -> tuple[float, float]:
    low = float("-inf") if one.minimum is None else one.minimum
    return low, float("inf") if one.maximum is None else one.maximum


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "integer" else f"a {kind}"
