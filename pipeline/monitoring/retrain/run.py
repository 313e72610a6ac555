"""Carrying a retraining out: each step reads what the last one left, does its part, and leaves it where all can see it.

A run that is killed anywhere leaves an attempt that the next one goes on with. Nothing is pushed to main.
"""

import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pipeline import paths
from pipeline.config import ConfigError, Frozen
from pipeline.context import Context
from pipeline.delivery.git import REMOTE, Checkout, Repository
from pipeline.delivery.history import timeline
from pipeline.delivery.models import Release
from pipeline.delivery.pulls import Desk
from pipeline.delivery.token import TOKENS
from pipeline.errors import UnavailableError, explain
from pipeline.frames import TableError
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.observation import Observation
from pipeline.monitoring.retrain import attempts, circuit, guards, ledger, proposal, seasons, window, workspace
from pipeline.monitoring.retrain.attempts import LOCK, OBSERVATION, PARAMS, Attempt, Outcome
from pipeline.monitoring.retrain.body import SHADOW
from pipeline.monitoring.retrain.config import Retrain, as_written
from pipeline.monitoring.retrain.errors import AttemptError, LostError
from pipeline.monitoring.retrain.guards import Answer, Asked
from pipeline.monitoring.retrain.ledger import Ledger
from pipeline.monitoring.retrain.steps import HOLDER, NAMES, StepName
from pipeline.production import PRODUCTION
from pipeline.text import markdown
from pipeline.verdict import Decision, Verdict

Say = Callable[[str], None]
Ending = Literal["nothing", "refused", "proposed", "no gain", "stopped", "failed", "superseded", "under way"]


class Ended(Frozen):
    """What came of a run. `guard` is what decided, where no attempt was made; `attempt` its key, where one was."""

    outcome: Ending
    reason: str
    guard: str = ""
    attempt: str = ""
    pull_request: str = ""

    @property
    def exit_code(self) -> int:
        """1 where a person has to look: a broken feed, an open circuit, an attempt that failed."""
        return int(self.outcome in ("refused", "failed"))

    @property
    def text(self) -> str:
        """For people."""
        where = f" ({self.pull_request})" if self.pull_request else ""
        return f"{self.outcome}: {self.reason}{where}"


@dataclass(frozen=True)
class Run:
    """Who retrains, and with what. `desk` is None where there is no forge; `clock` gives the time in UTC.

    `named`: the holder is an engine's run, whose pods are all of one try.
    """

    checkout: Checkout
    repository: Repository
    kept: Ledger
    desk: Desk | None
    holder: str
    say: Say
    named: bool = False
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, checkout: Checkout, say: Say, environ: Mapping[str, str] = os.environ) -> "Run":
        """As the checkout and the environment say. Raises ConfigError, GitError."""
        desk = Desk.of(checkout, say, environ) if any(environ.get(name) for name in TOKENS) else None
        mine = Repository(checkout.root, checkout.settings.branch, checkout.settings.name)
        repository = Repository.of(checkout) if REMOTE in mine.text("remote").split() else mine
        here = hashlib.sha256(str(checkout.root.resolve()).encode()).hexdigest()[:8]
        holder = environ.get(HOLDER) or f"{socket.gethostname()}-{here}"
        return cls(checkout, repository, ledger.of(checkout), desk, holder, say, named=bool(environ.get(HOLDER)))

    @property
    def remote(self) -> bool:
        """Whether there is a remote to push to."""
        return isinstance(self.kept, ledger.Branch)

    def main(self) -> str:
        """Main's commit: the remote's where there is one."""
        if self.remote:
            return self.repository.fetch()
        return self.repository.text("rev-parse", "--verify", f"refs/heads/{self.repository.branch}")

    def file(self, commit: str, path: str) -> str:
        """A text file of a commit. Raises ConfigError."""
        (found,) = self.repository.blobs([f"{commit}:{path}"])
        if found is None:
            raise ConfigError(f"{path} is not in {commit[:12]}")
        return found.decode()

    def settings(self, main: str) -> Retrain:
        """Section `retrain` of main's params.yaml: what was reviewed, and not what lies here. Raises ConfigError."""
        return as_written(self.file(main, PARAMS), self.checkout.root / PARAMS)

    def released(self, main: str) -> Release | None:
        """What main says is in production."""
        return timeline(self.repository, main, PRODUCTION).release


@dataclass(frozen=True)
class Done:
    """What a step left: changes of the attempt, files kept beside it, and its end, where that is the end."""

    update: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    ending: tuple[Outcome, str] | None = None


def retrain(run: Run, observe: Callable[[], Observation], only: StepName | None = None, force: str = "") -> Ended:
    """Every step that is still to be done, or `only` that one. `force` is a person's reason to go without decay.

    Raises UnavailableError where something outside is away: the attempt stays, and the next run goes on with it.
    """
    if only in (None, "decide"):
        answer = decide(run, observe, force)
        if answer.attempt is None:
            return Ended(outcome="refused" if answer.refused else "nothing", reason=answer.reason, guard=answer.guard)
        attempt = answer.attempt
    else:
        found = mine(run)
        if found is None:
            return Ended(outcome="nothing", reason="no attempt of this run is under way")
        attempt = found
    return _carried(run, attempt, NAMES if only is None else (only,))


def mine(run: Run) -> Attempt | None:
    """The newest attempt of this run's holder that has not ended."""
    held = [one for one in run.kept.attempts() if one.outcome is None and one.holder == run.holder]
    return held[-1] if held else None


def _carried(run: Run, attempt: Attempt, names: tuple[StepName, ...]) -> Ended:
    for name in names:
        if attempt.outcome is not None or name in attempt.done:
            continue
        if attempt.next != name:
            raise ConfigError(f"--step {name}: attempt {attempt.key} needs {attempt.next} first")
        try:
            attempt = _stepped(run, attempt, name)
        except LostError as error:
            return Ended(outcome="nothing", reason=str(error), attempt=attempt.key)
    return _told(attempt)


def _told(attempt: Attempt) -> Ended:
    if attempt.outcome is None:
        return Ended(outcome="under way", reason=f"{attempt.next} is next", attempt=attempt.key)
    return Ended(outcome=attempt.outcome, reason=attempt.reason, attempt=attempt.key, pull_request=attempt.pull_request)


def _stepped(run: Run, attempt: Attempt, name: StepName) -> Attempt:
    """The attempt after this step; one that failed in it has ended so."""
    run.say(f"{attempt.key}: {name}")
    steps: Mapping[StepName, Callable[[Run, Attempt], Done]] = {
        "advance": advance,
        "reproduce": reproduce,
        "gate": gate,
        "propose": propose,
    }
    try:
        done = steps[name](run, attempt)
    except _failures() as error:
        done = Done(ending=("failed", f"{name}: {error}"))
    after = _kept(run, attempt, name, done)
    if after.outcome == "failed":
        circuit.report(run.desk, run.kept.attempts(), run.settings(run.main()), run.say)
    return after


def _failures() -> tuple[type[Exception], ...]:
    """What no second run mends; AttemptError and DeliveryError are among the ValueErrors."""
    from serving.bundle import BundleError

    return BundleError, ConfigError, TableError, ValueError


def _kept(run: Run, attempt: Attempt, name: StepName, done: Done) -> Attempt:
    """The attempt as it is kept after a step. Raises LostError where it is this run's no more."""
    now = run.clock()
    after = attempt.after(name).model_copy(update={**done.update, "until": _until(run, attempt.until, now)})
    if done.ending is not None:
        outcome, reason = done.ending
        ended = after if outcome != "failed" else attempt
        after = ended.ending(outcome, reason, now)

    def change(there: Attempt | None) -> Attempt | None:
        return after if there == after or (there is not None and _is_ours(there, attempt)) else None

    if not run.kept.amend(attempt.key, change, done.files):
        raise LostError(f"{attempt.key}: another run has taken it over")
    return after


def _until(run: Run, until: datetime, now: datetime) -> datetime:
    """Each step that is done gives the next as much time as the lease had."""
    minutes = run.settings(run.main()).lease_minutes
    return max(until, now + timedelta(minutes=minutes))


def _is_ours(there: Attempt, attempt: Attempt) -> bool:
    """Whether nobody took it up since, nor another pod of this run: whoever does has it longer."""
    return there.outcome is None and (there.holder, there.until) == (attempt.holder, attempt.until)


def decide(run: Run, observe: Callable[[], Observation], force: str = "") -> Answer:
    """Look at everything, and claim the attempt where there is to be one; its answer has no attempt where not."""
    run.say("decide: reading main, attempts and pull requests")
    main = run.main()
    released, settings = run.released(main), run.settings(main)
    if released is None:
        return Answer(
            "stale", "main has nothing in production; a retraining replaces a release, the first is a person's"
        )
    _supersede(run, released.version)
    observation = observe()
    asked = Asked(
        observation=observation,
        attempts=run.kept.attempts(),
        proposals=proposal.standing(run.desk, settings.branch),
        version=released.version,
        data_end=window.read(run.file(main, PARAMS), settings.window_key),
        holder=run.holder,
        now=run.clock(),
        settings=settings,
        force=force,
    )
    answer = guards.decide(asked)
    if answer.guard == "circuit":
        circuit.report(run.desk, asked.attempts, settings, run.say)
    if not answer.goes:
        return answer
    circuit.closed(run.desk)
    return _claimed(run, asked, answer, main)


def _supersede(run: Run, version: str) -> None:
    """End what was begun against a production that is no more."""

    def change(there: Attempt | None) -> Attempt | None:
        why = f"production has bundle {version[:12]} now"
        return there.ending("superseded", why, run.clock()) if there is not None and there.outcome is None else None

    for one in run.kept.attempts():
        if one.outcome is None and one.version != version:
            run.kept.amend(one.key, change, {})


def _claimed(run: Run, asked: Asked, answer: Answer, main: str) -> Answer:
    """The attempt, made or taken up by compare-and-swap; who comes second is told so."""
    settings = asked.settings
    if answer.attempt is not None:
        wanted = _taken_up(run, answer.attempt, settings, asked.now)
    else:
        wanted = _new(asked, answer, asked.now + timedelta(minutes=settings.lease_minutes), main)

    def change(there: Attempt | None) -> Attempt | None:
        fresh = guards.decide(replace(asked, attempts=run.kept.attempts()))
        return wanted if there == answer.attempt and fresh.guard == answer.guard else None

    files = {} if answer.attempt else {OBSERVATION: asked.observation.model_dump_json(indent=2).encode() + b"\n"}
    if not run.kept.amend(wanted.key, change, files):
        return Answer("busy", f"another run was first with {wanted.key}")
    if wanted.outcome == "failed":
        circuit.report(run.desk, run.kept.attempts(), settings, run.say)
    return Answer(answer.guard, answer.reason, answer.window_end, wanted)


def _new(asked: Asked, answer: Answer, until: datetime, main: str) -> Attempt:
    if answer.window_end is None:
        raise ValueError("no window")
    return Attempt(
        version=asked.version,
        window_end=answer.window_end,
        as_of=asked.observation.as_of,
        base=main,
        why=answer.reason,
        forced=asked.force,
        holder=asked.holder,
        until=until,
        began=asked.now,
        done=("decide",),
    )


def _taken_up(run: Run, attempt: Attempt, settings: Retrain, now: datetime) -> Attempt:
    """Held by this run; one that no run brings to an end has failed. A later pod of the run that has it is no try."""
    again = run.named and attempt.holder == run.holder
    if attempt.tries >= settings.max_tries and not again:
        reason = f"{attempt.tries} runs did not finish {attempt.next}; their logs say why"
        return attempt.ending("failed", reason, now)
    # Always later than before: that tells the pods of one run apart.
    until = max(now + timedelta(minutes=settings.lease_minutes), attempt.until + timedelta(microseconds=1))
    return attempt.model_copy(update={"holder": run.holder, "until": until, "tries": attempt.tries + (not again)})


def advance(run: Run, attempt: Attempt) -> Done:
    """params.yaml with the window moved, kept beside the attempt."""
    key = run.settings(attempt.base).window_key
    moved = window.advanced(run.file(attempt.base, PARAMS), key, attempt.window_end)
    return Done(files={PARAMS: moved.encode()})


def reproduce(run: Run, attempt: Attempt) -> Done:
    """The bundle of that window, its outputs in DVC's default remote, its lock beside the attempt."""
    from serving import bundle

    place = _workspace(run, attempt)
    place.reproduce()
    run.say(f"{attempt.key}: dvc push")
    place.share()
    version = bundle.version(place.root / "build/bundle")
    return Done({"candidate": version}, {LOCK: (place.root / LOCK).read_bytes()})


def _workspace(run: Run, attempt: Attempt) -> workspace.Workspace:
    return workspace.prepare(run.repository, attempt, run.main(), run.kept.files(attempt.key))


def gate(run: Run, attempt: Attempt) -> Done:
    """The verdict under the rule "gain"; without a pass the attempt ends here."""
    from pipeline.gate import read_verdict
    from pipeline.review.publish import written

    place = _workspace(run, attempt)
    place.reproduce()
    place.gate()
    verdict = read_verdict(place.root)
    _check_compared(verdict, attempt)
    ending = _explained(run, attempt, judged(verdict))
    shown = {} if ending else {SHADOW: shadowed(run, attempt, place.root / paths.BUNDLE).encode()}
    return Done(files={**written(verdict), **shown}, ending=ending)


def _explained(run: Run, attempt: Attempt, ending: tuple[Outcome, str] | None) -> tuple[Outcome, str] | None:
    """Without a gain, also whether what was observed looks like a season."""
    if ending is None or ending[0] != "no gain":
        return ending
    observation = Observation.model_validate_json(run.kept.files(attempt.key)[OBSERVATION])
    why = seasons.unlearnt(observation, read_monitoring(run.checkout.root).feed.max_psi)
    return ending[0], f"{ending[1]}; {why}"


def shadowed(run: Run, attempt: Attempt, challenger: Path) -> str:
    """Challenger and production on the logged rows, for the pull request; why not, where they cannot be compared."""
    from pipeline.monitoring import shadow

    context = Context(run.checkout.root)
    run.say(f"{attempt.key}: shadow")
    try:
        limits = context.params.gates.benchmark
        return shadow.markdown(shadow.from_store(context, challenger, attempt.version, limits, attempt.window_end))
    except Exception as error:  # noqa: BLE001 - a model's own code runs there, and a gate that passed stands without it
        return f"Not compared on logged rows: {markdown(explain(error).message)}.\n"


def _check_compared(verdict: Verdict, attempt: Attempt) -> None:
    """Raise UnavailableError where the gates compared with nothing, or could not measure: neither is an answer.

    Raises AttemptError where one that blocks could not finish.
    """
    from pipeline.gate import UNFINISHED

    if verdict.production is None:
        raise UnavailableError(f"the gates had no production to compare with: {verdict.production_note}")
    if verdict.production.version != attempt.version:
        raise UnavailableError("production changed while the gates ran; the next run sees the new one")
    blocking = [one for one in verdict.gates if one.blocks]
    for one in blocking:
        if any(check.name == UNFINISHED and check.decision is Decision.INCONCLUSIVE for check in one.checks):
            raise AttemptError(f"{one.gate}: {one.reason}")
    if [one.gate for one in blocking] == ["load"] and blocking[0].decision is Decision.INCONCLUSIVE:
        raise UnavailableError(f"the load gate could not tell on this machine: {blocking[0].reason}")


def judged(verdict: Verdict) -> tuple[Outcome, str] | None:
    """None for a pass; else whether nothing but the gain is missing, or something else stopped it."""
    if verdict.decision is Decision.PASS:
        return None
    blocking = [one for one in verdict.gates if one.blocks]
    checks = [check for one in blocking if one.gate == "benchmark" for check in one.checks]
    without = any(one.name == "loss" and one.decision is not Decision.PASS for one in checks)
    # Harm to a slice is within the benchmark gate, and no season.
    harm = any(one.name != "loss" and one.decision is Decision.FAIL for one in checks)
    others = any(one.gate != "benchmark" for one in blocking)
    return ("no gain" if without and not harm and not others else "stopped"), verdict.reason


def propose(run: Run, attempt: Attempt) -> Done:
    """The branch and its one pull request. Raises AttemptError where main has moved past what was tried."""
    if (released := run.released(run.main())) is None or released.version != attempt.version:
        return Done(ending=("superseded", "production changed while this was tried"))
    files, settings = run.kept.files(attempt.key), run.settings(attempt.base)
    found = proposal.propose(run.repository, run.desk, settings, attempt, files, run.say)
    return Done({"pull_request": found.url}, {attempts.BODY: found.body.encode()}, ("proposed", found.reason))
