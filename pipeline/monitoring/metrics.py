"""What was observed and tried as Prometheus reads it: the text format, from a file or over HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path

from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, RESIDUAL, SKILL, Observation, Section
from pipeline.monitoring.retrain.attempts import OUTCOMES, Attempt

PATH, TRIED = Path("build/observation.prom"), Path("build/retraining.prom")
UNDER_WAY = "under way"
_HELP = {
    "flightline_decay_alarm": "1 where the model no longer fits what happens.",
    "flightline_decay_known": "1 where there are labels enough to tell decay.",
    "flightline_feed_alarm": "1 where the rows that come in are broken.",
    "flightline_observed_over_expected": "Outcomes over what the model expected, newest full labelled window.",
    "flightline_mean_residual": "Outcome less score, mean of the newest full labelled window.",
    "flightline_skill": "One less the loss over that of the base rate, newest full labelled window.",
    "flightline_labelled_rows": "Labelled rows since production's own data ended.",
    "flightline_window_rows": "Labelled rows in the newest full labelled window.",
    "flightline_observation_timestamp_seconds": "The day of the newest observation, at midnight UTC.",
    "flightline_psi": "Population stability index of a column against training, newest 28 days.",
    "flightline_retraining_attempts": "Attempts to retrain that are remembered, by what came of them.",
    "flightline_retraining_failures_in_a_row": "Attempts that failed since the last that came to an answer.",
}
_Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


def text(observation: Observation, env: str = "production") -> str:
    """One gauge a headline, labelled with environment and version; a figure that cannot be said is left out."""
    return _written(_samples(observation), {"env": env, "version": observation.version})


def of_attempts(attempts: Sequence[Attempt], failures: int, env: str = "production") -> str:
    """How many attempts there are of each outcome, and how many failed in a row."""
    outcomes = [one.outcome or UNDER_WAY for one in attempts]
    counted = [({"outcome": one}, float(outcomes.count(one))) for one in (UNDER_WAY, *OUTCOMES)]
    samples: _Samples = {
        "flightline_retraining_attempts": counted,
        "flightline_retraining_failures_in_a_row": [({}, float(failures))],
    }
    return _written(samples, {"env": env})


def _written(given: _Samples, common: Mapping[str, str]) -> str:
    lines = []
    for name, samples in given.items():
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels({**common, **labels})} {value:.10g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(observation: Observation) -> dict[str, list[tuple[dict[str, str], float]]]:
    midnight = datetime.combine(observation.as_of, time(), UTC).timestamp()
    window = observation.window
    single = {
        "flightline_decay_alarm": float(observation.decay.alarm),
        "flightline_decay_known": float(observation.decay.decision != "too little"),
        "flightline_feed_alarm": float(observation.feed.alarm),
        "flightline_observed_over_expected": _value(observation.decay, OBSERVED_OVER_EXPECTED),
        "flightline_mean_residual": _value(observation.decay, RESIDUAL),
        "flightline_skill": _value(observation.decay, SKILL),
        "flightline_labelled_rows": float(observation.new_labels),
        "flightline_window_rows": float(window.labelled) if window else 0.0,
        "flightline_observation_timestamp_seconds": midnight,
    }
    found: dict[str, list[tuple[dict[str, str], float]]] = {
        name: [({}, value)] for name, value in single.items() if value is not None
    }
    return {**found, "flightline_psi": list(_psi(observation))}


def _psi(observation: Observation) -> Iterator[tuple[dict[str, str], float]]:
    for one in observation.drift.readings:
        if one.value is not None:
            yield {"feature": one.name}, one.value


def _value(section: Section, name: str) -> float | None:
    reading = section.reading(name)
    return reading.value if reading else None


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
