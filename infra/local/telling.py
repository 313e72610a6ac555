"""Told while it happens on the local forge and cluster: what people do, and the waits for what follows by itself.

Every wait has a limit; where it is over, the error says what was waited for and what the workflows' jobs said last.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from infra.local import users
from infra.local.components import ClusterError, State
from infra.local.hand import FAILED, Hand
from infra.local.timeline import Timeline
from infra.local.watch import Watch, aborted, healthy, identity_of, undecided
from pipeline.delivery.pulls import Key
from pipeline.forge import Comment, Pull, Run
from pipeline.review.comment import MARKER

# What is promised, in seconds.
REPORT, UNCHANGED_REPORT, CANARY = 180.0, 60.0, 150.0
# What is waited for at most, in seconds; the first run of a job installs what it needs.
SLOW, ROLLOUT, SHORT = 1200.0, 240.0, 60.0
# A run that failed has this long to turn out not to matter.
GRACE = 20.0
WORKFLOWS = {"promote": "promote.yml", "rollback": "reconcile.yml"}
_EVERY = 1.0
_ONGOING = frozenset({"queued", "waiting", "in_progress"})


@dataclass
class Demo(Watch):
    """`folder` keeps timeline, page and clones; `pushed` and `merged` are when the last of each was, Unix seconds."""

    state: State
    folder: Path
    timeline: Timeline
    developer: Hand
    reviewer: Hand
    crowd: "Popen[bytes] | None" = None
    pushed: float = 0.0
    merged: float = 0.0
    seen: int = 0

    def until(
        self, what: str, holds: Callable[[], Any], seconds: float, workflows: Iterable[str] = (), *, url: str = ""
    ) -> Any:
        """What `holds` returns once it is true. Raises ClusterError after so long, or once one of the workflows failed.

        The error says what was waited for, and what the runs since `mark` say.
        """
        start, failing = time.monotonic(), 0.0
        while not (found := holds()):
            waited = time.monotonic() - start
            failing = failing or (waited if self._failed(workflows) else 0.0)
            if waited > seconds or (failing and waited > failing + GRACE):
                why = "a workflow failed" if failing else f"not within {seconds:.0f} s"
                raise ClusterError(f"{why}: {what}\n{self.explain()}")
            time.sleep(_EVERY)
        self.timeline.event(what, url)
        return found

    def mark(self) -> None:
        """From now on a workflow's failure is one of what comes next."""
        self.seen = self.reviewer.newest_run()

    def _failed(self, workflows: Iterable[str]) -> bool:
        named = tuple(workflows)
        return bool(named) and any(one.conclusion in FAILED for one in self.reviewer.runs(self.seen, named))

    def explain(self) -> str:
        """The runs since the last mark; what the jobs of those that failed, or run, said last."""
        runs = self.reviewer.runs(self.seen)
        told = [f"{one.workflow} ({one.event}): {one.conclusion or one.status}  {one.url}" for one in runs]
        logs = [self.reviewer.log(one) for one in runs if one.conclusion in FAILED or one.status in _ONGOING]
        return "\n".join([*(told or ["no workflow was started"]), *filter(None, logs)])

    def settled(self, workflow: str, sha: str, seconds: float = SLOW) -> Run:
        """The end of the newest run of a workflow for a commit."""

        def ended() -> Run | None:
            runs = [one for one in self.reviewer.forge.runs(head_sha=sha) if one.workflow == workflow]
            return runs[0] if runs and runs[0].status == "completed" else None

        run: Run = self.until(f"{workflow} ended for {sha[:12]}", ended, seconds)
        return run

    def propose(self, branch: str, title: str, edit: Callable[[Path], None], body: str = "") -> Pull:
        """The developer changes files on a new branch, pushes it, and opens a pull request."""
        self.mark()
        self.developer.begin(branch)
        edit(self.developer.root)
        self.pushed = time.time()
        self.developer.push(branch, f"{title}\n\n{body}")
        pull = self.developer.forge.open_pull(branch, "main", title, body)
        self.timeline.event(f"pushed {branch}, opened pull request #{pull.number}: {title}", pull.url)
        return pull

    def reported(self, pull: Pull, limit: float = REPORT, name: str = "push -> report") -> Comment:
        """The one comment on a pull request; how long it took is noted."""

        def found() -> Comment | None:
            comments = self.reviewer.forge.comments(pull.number)
            return next((one for one in comments if one.body.startswith(MARKER)), None)

        comment: Comment = self.until("the report is on the pull request", found, SLOW, ("gate.yml", "report.yml"))
        self.timeline.figure(name, time.time() - self.pushed, limit)
        self.timeline.event(headline(comment.body), comment.url)
        return comment

    def merge(self, pull: Pull, seconds: float = SLOW) -> float:
        """The reviewer approves, and merges as soon as what main requires is green. Returns when."""
        self.reviewer.approve(pull.number)
        said = ""

        def done() -> bool:
            nonlocal said
            said = self.reviewer.merge(self.reviewer.forge.pull(pull.number))
            if "review" in said or "approval" in said:
                self.reviewer.approve(pull.number)  # what was pushed since took the approval away
            return not said

        try:
            self.until(f"pull request #{pull.number} merged: {pull.title}", done, seconds, ("pr.yml",), url=pull.url)
        except ClusterError as error:
            states = self.reviewer.statuses(self.reviewer.forge.pull(pull.number).head_sha)
            raise ClusterError(f"{error}\nthe forge says: {said}\nstatuses: {states}") from error
        self.merged = time.time()
        return self.merged

    def released(self, environment: str, before: str, seconds: float = SLOW) -> str:
        """The identity that main has for an environment instead of `before`."""

        def other() -> str:
            found = str(self.reviewer.released(environment).get("identity", ""))
            return found if found != before else ""

        identity: str = self.until(f"main releases to {environment}", other, seconds, ("deliver.yml",))
        self.timeline.event(f"{environment}: identity {identity[:12]}", f"{self.web}/src/branch/main/k8s/releases")
        return identity

    def takes_traffic(self, environment: str, identity: str) -> None:
        """Wait for the first ready pod of a canary."""
        self.until(
            f"{environment} has the release", lambda: identity_of(self.rollout(environment)) == identity, ROLLOUT
        )
        self.until(f"{environment}: the canary takes traffic", lambda: self._serves(environment), ROLLOUT)

    def _serves(self, environment: str) -> bool:
        """Of a first release there is no canary: its pods are the stable ones at once."""
        return self.weight(environment) > 0 or self.rollout(environment).get("status", {}).get("phase") == "Healthy"

    def healthy(self, environment: str, identity: str) -> None:
        """Wait for the end of a good rollout; one that is aborted or waits for a person is an error at once."""
        rolled = f"{environment} is healthy"

        def done() -> bool:
            rollout = self.rollout(environment)
            if aborted(rollout, identity) or undecided(rollout, identity):
                raise ClusterError(f"not so: {rolled}; {self._trouble(environment)}")
            return healthy(rollout, identity)

        self.until(rolled, done, ROLLOUT)

    def aborted(self, environment: str, identity: str) -> None:
        """Wait for the end of a bad rollout; one that ends well is an error at once."""
        what = f"{environment}: the canary is aborted"

        def done() -> bool:
            rollout = self.rollout(environment)
            if healthy(rollout, identity):
                raise ClusterError(f"not so: {what}; its analysis let it through")
            return aborted(rollout, identity)

        self.until(what, done, ROLLOUT)
        self.timeline.event(self._trouble(environment))

    def opened(self, kind: str, environment: str, identity: str, by: Iterable[str] = ()) -> Pull:
        """The pull request that opens by itself: a promotion, or a rollback of this identity. `by` are workflows."""

        def found() -> Pull | None:
            pulls = ((one, Key.read(one.body)) for one in self.reviewer.forge.pulls())
            wanted = (kind, environment, identity)
            return next((one for one, key in pulls if key and (key.kind, key.env, key.identity) == wanted), None)

        what = f"a pull request opened by itself: {kind} {environment}"
        pull: Pull = self.until(what, found, SLOW, tuple(by) or (WORKFLOWS[kind],))
        self.timeline.event(f"#{pull.number} by {pull.author}: {pull.title}", pull.url)
        return pull

    def let_in(self) -> None:
        """Users ask production from now on, with the newest rows of what main was trained on."""
        self.send_home()
        self.developer.begin("look")
        self.developer.run("dvc", "pull", "-q", "-r", "trusted", "prepare", "bundle")
        address = self.get("production", "services", "flightline")["spec"]["clusterIP"]
        rows = users.newest_rows(self.developer.root)
        self.crowd = users.start(self.folder, "production", f"http://{address}", rows)
        self.timeline.event("production has users")

    def send_home(self) -> None:
        """No more users."""
        if self.crowd is not None:
            users.end(self.crowd)
            self.crowd = None

    @property
    def web(self) -> str:
        """The repository's page."""
        return self.reviewer.forge.web_url()

    def _trouble(self, environment: str) -> str:
        status = self.rollout(environment).get("status", {})
        failed = ", ".join(sorted(self.failed_metrics(environment))) or "no metric"
        return f"{environment}: {status.get('phase')}, failed: {failed}; {status.get('message', '')}"


def headline(body: str) -> str:
    """The first line that a comment shows."""
    lines = (line.strip("#* ") for line in body.splitlines())
    return next((line for line in lines if line and not line.startswith("<!--")), "")
