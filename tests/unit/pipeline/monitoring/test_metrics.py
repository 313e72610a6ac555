import re

from pipeline.monitoring import metrics
from pipeline.monitoring.observation import Reading, Section
from tests.observations import observation
from tests.retrainings import attempt

LABELS = f'{{env="production",version="{"a" * 64}"}}'


def lines(**changes: object) -> list[str]:
    return metrics.text(observation(**changes)).splitlines()


def test_the_headline_has_the_names_that_the_alerts_ask_for() -> None:
    found = lines()
    for line in (
        f"flightline_decay_alarm{LABELS} 1",
        f"flightline_feed_alarm{LABELS} 0",
        f"flightline_observed_over_expected{LABELS} 1.9",
        f"flightline_skill{LABELS} -0.03",
        f"flightline_labelled_rows{LABELS} 24000",
        f"flightline_observation_timestamp_seconds{LABELS} 1367193600",
    ):
        assert line in found


def test_each_column_has_its_psi_and_one_that_cannot_be_said_has_none() -> None:
    found = "\n".join(lines())
    assert re.search(r'flightline_psi\{env="production",version="a{64}",feature="temp"\} 2\.3', found)
    assert 'feature="seats"' not in found


def test_a_figure_that_cannot_be_said_is_left_out() -> None:
    unknown = Section(alarm=False, decision="too little", reason="no labels")
    found = "\n".join(lines(decay=unknown, window=None))
    assert "flightline_observed_over_expected{" not in found
    assert f"flightline_decay_known{LABELS} 0" in found
    assert f"flightline_window_rows{LABELS} 0" in found


def test_every_figure_has_help_and_type_once() -> None:
    found = lines()
    names = [line.split("{")[0] for line in found if not line.startswith("#")]
    for name in set(names):
        assert sum(line.startswith(f"# HELP {name} ") for line in found) == 1
        assert f"# TYPE {name} gauge" in found


def test_a_column_with_a_quote_in_its_name_is_escaped() -> None:
    odd = Section(alarm=False, decision="quiet", reason="", readings=(Reading(name='a"b\\', value=1.0, reason=""),))
    assert 'feature="a\\"b\\\\"' in "\n".join(lines(drift=odd))


def test_attempts_are_counted_by_what_came_of_them_and_none_is_zero() -> None:
    tried = (attempt(outcome="no gain"), attempt(outcome="failed"), attempt(outcome="failed"), attempt())
    found = metrics.of_attempts(tried, 2, "staging").splitlines()
    for outcome, many in {"no gain": 1, "failed": 2, "under way": 1, "proposed": 0}.items():
        assert f'flightline_retraining_attempts{{env="staging",outcome="{outcome}"}} {many}' in found
    assert 'flightline_retraining_failures_in_a_row{env="staging"} 2' in found
