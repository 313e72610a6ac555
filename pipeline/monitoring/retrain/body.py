"""What the retrain pull request says: the gain first, why it was tried, what to do; then the evidence, folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pipeline.delivery.bodies import MOST
from pipeline.delivery.git import Repository
from pipeline.monitoring.observation import Observation, Section
from pipeline.monitoring.retrain import window
from pipeline.monitoring.retrain.attempts import LOCK, OBSERVATION, PARAMS, Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.report.document import Grid
from pipeline.report.figures import sentence
from pipeline.review import differences, parts
from pipeline.review.models import Output, Setting
from pipeline.review.publish import REPORT
from pipeline.text import MISSING, number
from pipeline.verdict import Verdict

SHADOW = "shadow.md"
_SHORT = 12


@dataclass(frozen=True)
class Told:
    """Everything that the template may show."""

    attempt: Attempt
    observation: Observation
    verdict: Verdict
    before: date
    report: str
    outputs: tuple[Output, ...]
    settings: tuple[Setting, ...]
    shadow: str = ""
    too_long: str = ""

    @classmethod
    def of(
        cls,
        repository: Repository,
        attempt: Attempt,
        files: Mapping[str, bytes],
        verdict: Verdict,
        settings: Retrain,
    ) -> "Told":
        """From what is kept of the attempt, and the commit it started from."""
        params, lock = repository.blobs([f"{attempt.base}:{PARAMS}", f"{attempt.base}:{LOCK}"])
        return cls(
            attempt=attempt,
            observation=Observation.model_validate_json(files[OBSERVATION]),
            verdict=verdict,
            before=window.read((params or b"").decode(), settings.window_key),
            report=files[REPORT].decode(),
            outputs=differences.outputs(lock, files[LOCK]),
            settings=differences.parameters(params, files[PARAMS]),
            shadow=files.get(SHADOW, b"").decode(),
        )

    @property
    def production(self) -> str:
        """Production's version, short."""
        return self.attempt.version[:_SHORT]

    @property
    def candidate(self) -> str:
        """The candidate's version, short."""
        return (self.attempt.candidate or "")[:_SHORT]

    @property
    def gain(self) -> str:
        """The verdict's reason as a sentence."""
        return sentence(self.verdict.reason)

    @property
    def why(self) -> str:
        """Why it was tried, as a sentence."""
        return sentence(self.attempt.why)

    @property
    def window(self) -> str:
        """The days that decay was looked at."""
        found = self.observation.window
        return f"{found.first} to {found.last}, {found.labelled:,} labelled rows" if found else "no window"

    @property
    def readings(self) -> Grid:
        """Decay's statistics against their limits."""
        return readings(self.observation.decay)

    @property
    def figures(self) -> Grid:
        """Candidate and production on the same held-out rows."""
        return parts.differences(self.verdict)

    @property
    def data(self) -> Grid:
        """The outputs of the stages by hash, and what the window is."""
        rows = tuple((one.path, _hash(one.base), _same(one), _bytes(one)) for one in self.outputs)
        return Grid("", ("Output", "Main", "This branch", "Bytes"), rows, (False, False, False, True))

    @property
    def parameters(self) -> Grid:
        """What changes in params.yaml."""
        rows = tuple((one.name, one.base or MISSING, one.head or MISSING) for one in self.settings)
        return Grid("", ("Setting", "Main", "This branch"), rows)


def text(told: Told, raw: str) -> str:
    """The body, without its first line; `raw` is where a browser finds the attempt's files, "" for nowhere."""
    from pipeline.report.markdown import escaped, with_code
    from pipeline.report.templating import template
    from pipeline.report.words import MARKS

    shown = replace(told, report=told.report.replace("](plots/", f"]({raw}/plots/") if raw else told.report)
    render = template("pulls/retrain.md.j2", with_code, escaped)
    body = render(page=shown, marks=MARKS)
    if len(body) > MOST:
        where = f"It is too long to be shown here: {raw}/{REPORT}" if raw else "It is too long to be shown here."
        body = render(page=replace(shown, report="", too_long=where), marks=MARKS)
    return body


def subject(attempt: Attempt, verdict: Verdict) -> str:
    """The commit's first line, and the pull request's title."""
    found = verdict.reason.partition(":")[0]
    return f"retrain: data to {attempt.window_end}, {found}"


def readings(section: Section) -> Grid:
    """One row a statistic: value, limits, and what that means."""
    rows = tuple(
        ("⚠️" if one.alarm else "", one.name, number(one.value), _limits(one.low, one.high), sentence(one.reason))
        for one in section.readings
    )
    return Grid("", ("", "Statistic", "Value", "Allowed", "Which means"), rows, (False, False, True, False, False))


def _limits(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return MISSING
    return f"{number(low) if low is not None else ''} … {number(high) if high is not None else ''}".strip()


def _hash(name: str | None) -> str:
    return (name or MISSING)[:_SHORT]


def _same(one: Output) -> str:
    return "the same" if one.base == one.head else _hash(one.head)


def _bytes(one: Output) -> str:
    sizes: Sequence[str] = [f"{size:,}" if size is not None else MISSING for size in (one.base_bytes, one.head_bytes)]
    return sizes[1] if sizes[0] == sizes[1] else " → ".join(sizes)
