"""Playing: a day of traffic, the morning after it with the labels that are due, a look, and what the look asks for."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pandas as pd

from model.contract import Model
from pipeline.context import Context
from pipeline.delivery.git import Here
from pipeline.errors import UnavailableError
from pipeline.gates.load_server import ServerError
from pipeline.lock import exclusive
from pipeline.monitoring import observe
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.observation import Observation
from pipeline.monitoring.play import plan, telling, traffic
from pipeline.monitoring.play import stage as stages
from pipeline.monitoring.play import story as stories
from pipeline.monitoring.play.exchange import Exchange
from pipeline.monitoring.play.looks import Looks
from pipeline.monitoring.play.plan import Span
from pipeline.monitoring.play.stage import Stage
from pipeline.monitoring.play.story import Story
from pipeline.monitoring.play.traffic import Sent
from pipeline.monitoring.reference import read_reference
from pipeline.monitoring.retrain import guards, window
from pipeline.monitoring.retrain.attempts import PARAMS, Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.guards import Answer, Asked
from pipeline.monitoring.retrain.run import Run, retrain
from pipeline.monitoring.retrain.steps import HOLDER
from pipeline.monitoring.scan import Looker
from pipeline.monitoring.store import VARIABLE, Store, open_store
from serving import bundle

Say = Callable[[str], None]
_TRIES = 3
_A_DAY = timedelta(days=1)
_BAR = 24


def play(context: Context, span: Span, say: Say, tell: Say, *, anew: bool = False) -> Story:
    """Play the days and leave story and page in build/observe; what was played before goes on, or stands.

    `say` is told what is being done, `tell` what happened. Raises UnavailableError, ConfigError, ValueError.
    """
    stage = Stage(context.root / stages.FOLDER)
    with exclusive(stage.root, say), _store(stage.store):
        key = stages.key(context.root, span)
        done = None if anew else _finished(stage, key)
        if done is not None:
            tell("nothing has changed since this was played; --anew plays it again")
            telling.page(stage, done)
            return done
        say("rows to be played")
        frames = plan.rows(context, span)
        if anew or not stage.begun(key):
            say("production: dvc repro")
            stages.make(context.root, stage, key, span.ends)
        stage.recover()
        return Player(stage, span, frames, say, tell).told()


def _finished(stage: Stage, key: str) -> Story | None:
    """The story of that key, if it was played to its end."""
    path = stage.root / stories.STORY
    if not stage.begun(key) or not path.is_file():
        return None
    found = Story.model_validate_json(path.read_text())
    return found if found.whole else None


@contextmanager
def _store(folder: Path) -> Iterator[None]:
    """All that is logged goes here, whatever params.yaml or the environment names as the project's store."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@dataclass(frozen=True)
class Standing:
    """What is in production, by which data, under which settings, and what was tried."""

    version: str
    data_end: date
    settings: Retrain
    attempts: tuple[Attempt, ...]

    @classmethod
    def of(cls, run: Run) -> "Standing":
        """As main and the branch of reports say now. Raises UnavailableError."""
        main = run.main()
        settings, released = run.settings(main), run.released(main)
        if released is None:
            raise UnavailableError("the play has nothing in production; run it again with --anew")
        data_end = window.read(run.file(main, PARAMS), settings.window_key)
        return cls(released.version, data_end, settings, run.kept.attempts())


@dataclass
class Player:
    """A play under way. What it did is in its folder, so that another one goes on where this one was stopped."""

    stage: Stage
    span: Span
    frames: Mapping[date, pd.DataFrame]
    say: Say
    tell: Say

    def __post_init__(self) -> None:
        self.days = stories.remembered(self.stage.root)
        self._run = Run.of(Here(self.stage.tree), self._quietly, {HOLDER: "play"})
        self._clock = time.monotonic()
        self._known: Standing | None = None

    @cached_property
    def model(self) -> Model:
        """The model that the played checkout describes."""
        return self.stage.context().model

    @cached_property
    def store(self) -> Store:
        """The play's own."""
        return open_store(self.stage.context())

    def told(self) -> Story:
        """Play what is left, and leave story and page, however that ends."""
        whole = False
        try:
            self.play()
            whole = True
        finally:
            self.say("story and page")
            store, kept = self.store, self._run.kept
            story = telling.story(self.stage, self.span, self.days, kept, store, whole=whole)
            telling.page(self.stage, story)
        return story

    def play(self) -> None:
        """Play what is left: the days by one production after the other, then the labels that are still to come."""
        self._settle()
        while not self.ended:
            self._era(self._standing.version)
        self.say("the last labels")
        for late in range(2, self.span.late + 1):
            self._labels(self.span.last + late * _A_DAY)

    @property
    def ended(self) -> bool:
        """Whether every day has been played."""
        return bool(self.days) and self.days[-1].as_of > self.span.last

    def _quietly(self, step: str) -> None:
        self.say(f"{self._where()}  {step}")

    def _where(self) -> str:
        """How far it is, as a bar."""
        as_of = self.days[-1].as_of if self.days else self.span.first
        done = _BAR * len(self.days) // self.span.mornings
        return f"{as_of}  [{'#' * done}{'.' * (_BAR - done)}]"

    @property
    def _standing(self) -> "Standing":
        """What main says; read anew once this play changed it."""
        if self._known is None:
            self._known = Standing.of(self._run)
        return self._known

    def _era(self, version: str) -> None:
        """Days played to one bundle: to the end, or until another one takes its place."""
        opened = bundle.load(self.stage.bring(version))
        looker = Looker(self.model, opened, read_reference(opened.path, version))
        parity = self.stage.context().params.gates.differential.parity_tolerance
        looks = Looks(self.store, looker, read_monitoring(self.stage.tree), parity)
        end = looker.reference.blocks.until if looker.reference.blocks else None
        self.tell(f"{self._morning}  production is {version[:12]}, with data to {end}")
        try:
            with self.stage.serving(version) as (server, log):
                exchange = Exchange(server, log, self.store)
                while not self.ended and self._standing.version == version:
                    self._day(exchange, looks)
                    self._settle()
        except ServerError as error:
            raise UnavailableError(f"the server of {version[:12]}: {error}; run it again, it goes on") from error

    @property
    def _morning(self) -> date:
        """The next look: the day after the first, or after the last look."""
        return self.days[-1].as_of + _A_DAY if self.days else self.span.first + _A_DAY

    def _day(self, exchange: Exchange, looks: Looks) -> None:
        """A day of traffic, the labels that are due, and the look on the morning after."""
        as_of, day = self._morning, self._morning - _A_DAY
        frame = self.frames.get(day)
        sent = Sent() if frame is None else exchange.play(traffic.requests(frame, self.model.schema))
        labels = self._labels(as_of)
        looks.changed(day)
        looks.changed(as_of - self.span.late * _A_DAY)
        found = looks.at(as_of)
        answer = self._asked(found)
        self._tell_look(found, sent)
        seconds, self._clock = time.monotonic() - self._clock, time.monotonic()
        self.days.append(telling.looked(found, answer, sent, labels, seconds))
        stories.remember(self.stage.root, self.days)
        self.say(f"{self._where()}  {sent.answered:,} rows; decay: {found.decay.decision}")

    def _labels(self, as_of: date) -> int:
        """Hand over the outcomes that become known on that morning."""
        frame = self.frames.get(as_of - self.span.late * _A_DAY)
        if frame is None:
            return 0
        moment = datetime.combine(as_of, datetime.min.time(), UTC)
        return self.store.add_labels(traffic.outcomes(frame, self.model.schema), moment).new

    def _asked(self, found: Observation) -> Answer:
        """What the guards of a retraining say to this look."""
        known = self._standing
        asked = Asked(
            observation=found,
            attempts=known.attempts,
            proposals=(),
            version=known.version,
            data_end=known.data_end,
            holder=self._run.holder,
            now=self._run.clock(),
            settings=known.settings,
        )
        return guards.decide(asked)

    def _tell_look(self, found: Observation, sent: Sent) -> None:
        """What is new since the last look."""
        before = self.days[-1] if self.days else None
        if sent.refused:
            self.tell(f"{found.as_of}  the server refused {sent.refused:,} rows, the first: {sent.example}")
        if found.decay.alarm and not (before and before.decay.alarm and before.version == found.version):
            self.tell(f"{found.as_of}  decay: {found.decay.reason}")
        if found.feed.alarm and not (before and before.feed == "alarm"):
            self.tell(f"{found.as_of}  broken feed: {found.feed.reason}")

    def _settle(self) -> None:
        """Whatever the last look asked for, whether this run was the one that looked or one that was stopped."""
        if not self.days:
            return
        last, attempts = self.days[-1], self._standing.attempts
        if last.guard in ("go", "resume") and not any(one.as_of == last.as_of and one.outcome for one in attempts):
            self._retrain(last.as_of)
            self._known = None
        self._merge()

    def _retrain(self, as_of: date) -> None:
        """`flightline retrain` on that morning: it looks for itself. What is away is tried again a few times."""
        for left in reversed(range(_TRIES)):
            try:
                ended = retrain(self._run, lambda: observe.run(self.stage.context(), as_of, self._quietly))
            except UnavailableError as error:
                if not left:
                    raise
                self.tell(f"{as_of}  retraining: {error}; again")
            else:
                self.tell(f"{as_of}  retraining: {ended.text}")
                return

    def _merge(self) -> None:
        """A person merges what was proposed, at once, and it goes to production."""
        version = self._standing.version
        for attempt in self._standing.attempts:
            if attempt.outcome == "proposed" and attempt.version == version and attempt.candidate:
                commit = self.stage.merge(self._run.settings(attempt.base).branch)
                self.stage.put_in_production(commit, attempt.candidate, f"promote(production): {attempt.key}\n")
                self.tell(f"{attempt.as_of}  merged: {attempt.candidate[:12]} takes the place of {version[:12]}")
                self._known = None
                return
