import pytest

from pipeline.gates import rules
from pipeline.verdict import Decision


def overall(*, difference: float, lower: float, upper: float) -> rules.Overall:
    return rules.Overall(0.5, difference, (lower, upper), lower, upper, 0.003, 28, 0.01)


@pytest.mark.parametrize(
    ("rule", "difference", "lower", "upper", "expected"),
    [
        ("non-inferior", 0.002, -0.004, 0.009, Decision.PASS),
        ("non-inferior", 0.007, 0.004, 0.0099, Decision.PASS),  # worse for certain, but by less than the margin
        ("non-inferior", 0.002, -0.004, 0.010, Decision.INCONCLUSIVE),  # the margin itself is not excluded
        ("non-inferior", 0.010, 0.000, 0.020, Decision.INCONCLUSIVE),  # no harm is not excluded
        ("non-inferior", 0.010, 0.001, 0.020, Decision.FAIL),
        ("gain", -0.012, -0.020, -0.001, Decision.PASS),
        ("gain", -0.010, -0.020, -0.001, Decision.PASS),  # exactly the margin is a gain of the margin
        ("gain", -0.009, -0.020, -0.001, Decision.INCONCLUSIVE),  # better for certain, but by less than the margin
        ("gain", -0.012, -0.025, 0.000, Decision.INCONCLUSIVE),
        ("gain", -0.002, -0.010, 0.006, Decision.INCONCLUSIVE),  # a gain of the margin is still possible
        ("gain", -0.002, -0.009, 0.005, Decision.FAIL),
        ("first release", -0.012, -0.020, -0.001, Decision.PASS),
        ("first release", -0.002, -0.009, 0.005, Decision.FAIL),
    ],
)
def test_bounds_decide(rule, difference, lower, upper, expected):
    found = rules.decision(overall(difference=difference, lower=lower, upper=upper), rule)
    assert found is expected


@pytest.mark.parametrize(
    ("rule", "difference", "lower", "upper", "words"),
    [
        ("non-inferior", -0.001, -0.006, 0.005, "no worse, and no better: -.0010 [-.0060, +.0050] against production"),
        ("non-inferior", 0.007, 0.004, 0.0099, "worse by 1.4 %, but within the margin: +.0070"),
        (
            "non-inferior",
            -0.051,
            -0.083,
            -0.021,
            "better by 10 %: -.0510 [-.0830, -.0210] against production, margin .0100",
        ),
        ("non-inferior", 0.051, 0.021, 0.083, "worse by 10 %; harm of the margin is not excluded: "),
        ("gain", -0.006, -0.008, -0.004, "better by 1.2 %; a retrained model must gain at least the margin: "),
        ("gain", -0.002, -0.030, 0.020, "cannot tell better from worse with 28 blocks; "),
        ("first release", 0.0, -0.002, 0.002, "no worse, and no better; a first release must beat the constant"),
    ],
)
def test_the_reason_says_what_was_found(rule, difference, lower, upper, words):
    found = rules.check(overall(difference=difference, lower=lower, upper=upper), rule, "production")
    assert found.reason.startswith(words)


def test_a_bound_that_decides_against_an_interval_that_reaches_zero_says_so():
    one_sided = rules.Overall(0.5, 0.02, (-0.001, 0.05), 0.001, 0.04, 0.01, 28, 0.01)
    assert (
        "worse by 4.0 % (one-sided; the interval reaches zero)"
        in rules.check(one_sided, "non-inferior", "production").reason
    )
