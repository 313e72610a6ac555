"""What the bounds of a comparison mean: the decision under each rule, and the sentence that says it."""

from dataclasses import dataclass

from pipeline.gates.decide import percent, plain, signed
from pipeline.verdict import Check, Decision, Rule


@dataclass(frozen=True)
class Overall:
    """The comparison in figures: mean losses, their difference with its two-sided interval and one-sided bounds.

    `error` is the standard error of the difference, `margin` what counts as a real one, in units of the loss.
    """

    reference: float
    difference: float
    interval: tuple[float, float]
    lower: float
    upper: float
    error: float
    blocks: int
    margin: float


def decision(overall: Overall, rule: Rule) -> Decision:
    """What the bounds say under this rule.

    Non-inferior: pass when harm of the margin is excluded, fail when the candidate is worse for certain. Gain and first
    release: pass when better for certain and by the margin, fail when a gain of the margin is excluded.
    """
    if rule == "non-inferior":
        good, bad = overall.upper < overall.margin, overall.lower > 0
    else:
        good = overall.upper < 0 and overall.difference <= -overall.margin
        bad = overall.lower > -overall.margin
    return Decision.PASS if good else Decision.FAIL if bad else Decision.INCONCLUSIVE


def check(overall: Overall, rule: Rule, reference: str) -> Check:
    """The decision, and its reason: the finding in words, then the figures. `reference` names what to beat."""
    found = decision(overall, rule)
    low, high = overall.interval
    evidence = (
        f"{signed(overall.difference)} [{signed(low)}, {signed(high)}] against {reference}, "
        f"margin {plain(overall.margin)}"
    )
    return Check(
        name="loss",
        decision=found,
        reason=f"{_meaning(overall, rule, found)}: {evidence}",
        statistic=overall.difference,
        threshold=overall.margin if rule == "non-inferior" else -overall.margin,
        interval=overall.interval,
    )


def _meaning(overall: Overall, rule: Rule, found: Decision) -> str:
    """The finding in words, then what was asked for where that was not met."""
    asked = {
        "non-inferior": "harm of the margin is not excluded",
        "gain": "a retrained model must gain at least the margin",
        "first release": "a first release must beat the constant by at least the margin",
    }[rule]
    if found is not Decision.PASS:
        return f"{_direction(overall, overall.lower, overall.upper)}; {asked}"
    if rule != "non-inferior":
        return _direction(overall, overall.lower, overall.upper)
    words = _direction(overall, *overall.interval)
    return f"{words}, but within the margin" if words.startswith("worse") else words


def _direction(overall: Overall, low: float, high: float) -> str:
    """Better or worse and by what share of the reference's loss, where these bounds are on one side of zero."""
    size = percent(abs(overall.difference) / abs(overall.reference)) if overall.reference else "any share"
    if high < 0 or low > 0:
        words = f"{'better' if high < 0 else 'worse'} by {size}"
        straddles = overall.interval[0] <= 0 <= overall.interval[1]
        return f"{words} (one-sided; the interval reaches zero)" if straddles else words
    if overall.upper < overall.margin:
        return "no worse, and no better"
    return f"cannot tell better from worse with {overall.blocks} blocks"
