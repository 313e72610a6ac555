from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from model.splits import by_group, last_days


def days(count: int, unlabelled: int = 0) -> pd.DataFrame:
    """One row a day from 1 January; the last `unlabelled` of them have no label yet."""
    dates = [(date(2013, 1, 1) + timedelta(days=at)).isoformat() for at in range(count)]
    label = np.ones(count)
    label[count - unlabelled :] = np.nan
    return pd.DataFrame({"date": dates, "late": label})


def test_holdout_is_the_last_labelled_days() -> None:
    frame = days(60, unlabelled=3)
    split = last_days(frame, day="date", label="late", days=28)
    held = frame["date"][split.holdout]
    assert (held.min(), held.max(), len(held)) == ("2013-01-30", "2013-02-26", 28)


def test_training_ends_before_the_holdout_and_the_rule_says_when() -> None:
    split = last_days(days(60), day="date", label="late", days=28)
    assert split.rule == {"kind": "time", "column": "date", "trained_until": "2013-02-01"}
    assert not (split.train & split.holdout).any()


def test_row_without_label_is_on_neither_side() -> None:
    split = last_days(days(60, unlabelled=5), day="date", label="late", days=28)
    assert not (split.train | split.holdout)[-5:].any()


def test_no_label_at_all_is_refused_with_the_column_named() -> None:
    with pytest.raises(ValueError, match="late"):
        last_days(days(10, unlabelled=10), day="date", label="late", days=3)


def test_holding_out_every_day_is_refused() -> None:
    with pytest.raises(ValueError, match="28 days"):
        last_days(days(28), day="date", label="late", days=28)


def test_a_day_with_times_in_it_is_wholly_on_one_side() -> None:
    times = pd.date_range("2013-01-01T06:00", "2013-02-28T22:00", freq="4h", tz="UTC")
    for written in (times, times.strftime("%Y-%m-%dT%H:%M:%SZ"), times.tz_localize(None)):
        frame = pd.DataFrame({"at": written, "late": 1.0})
        split = last_days(frame, day="at", label="late", days=28)
        assert times[split.train].max().isoformat() == "2013-01-31T22:00:00+00:00"
        assert times[split.holdout].min().isoformat() == "2013-02-01T02:00:00+00:00"
        assert split.rule["trained_until"] == "2013-01-31"


def test_days_are_in_order_of_time_not_of_text() -> None:
    frame = days(60).assign(date=lambda rows: rows["date"].str.replace("-0", "-"))
    split = last_days(frame, day="date", label="late", days=28)
    assert split.holdout.tolist() == [False] * 32 + [True] * 28


@pytest.mark.parametrize("value", ["spring", "2013-02-30", "01/02/2013", 20130201])
def test_a_day_that_cannot_be_read_is_named_with_its_column(value: object) -> None:
    frame = days(60).astype({"date": object})
    frame.loc[50, "date"] = value
    with pytest.raises(ValueError, match=f"column 'date' holds {value!r}"):
        last_days(frame, day="date", label="late", days=28)


def shops(count: int) -> pd.DataFrame:
    return pd.DataFrame({"shop": [f"shop-{at // 10}" for at in range(count)], "bought": 1.0})


def test_group_is_wholly_on_one_side() -> None:
    frame = shops(1000)
    split = by_group(frame, group="shop", label="bought", share=0.3)
    sides = frame.assign(held=split.holdout).groupby("shop")["held"].nunique()
    assert (sides == 1).all()
    assert 0.15 < split.holdout.mean() < 0.45


def test_same_groups_are_held_out_when_rows_arrive_or_change_order() -> None:
    frame = shops(1000)
    before = set(frame["shop"][by_group(frame, group="shop", label="bought", share=0.3).holdout])
    more = shops(2000).sample(frac=1, random_state=0, ignore_index=True)
    after = set(more["shop"][by_group(more, group="shop", label="bought", share=0.3).holdout])
    assert before <= after


def test_share_that_leaves_a_side_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="change the share"):
        by_group(shops(20), group="shop", label="bought", share=1e-9)
