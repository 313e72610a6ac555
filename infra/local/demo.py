"""The story of a release on the local forge and cluster, told by doing it: nobody does anything but push and merge.

`play` tells all of it. Each step is a function of a `Demo`, so that a test tells the same story, or another one.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local import cluster, control, forge, page
from infra.local.components import PROJECT, ClusterError, State
from infra.local.control import Say
from infra.local.gitea import Folders
from infra.local.hand import Hand
from infra.local.members import DEVELOPER, REVIEWER
from infra.local.telling import CANARY, SHORT, UNCHANGED_REPORT, Demo
from infra.local.timeline import Timeline, sampling
from pipeline.forge import Pull


def first_release(demo: Demo) -> str:
    """What main was when the forge got it: trained, gated, built, released to staging, promoted by a merge."""
    with demo.timeline.chapter("1 the first release"):
        identity = demo.released("staging", "")
        demo.takes_traffic("staging", identity)
        demo.healthy("staging", identity)
        promote(demo, identity)
        demo.let_in()
    return identity


def better_model(demo: Demo) -> str:
    """One parameter: two more months of data. Returns the identity that is in production at the end."""
    with demo.timeline.chapter("2 somebody edits params.yaml"):
        pull = demo.propose("more-data", "Train on data until the end of May", more_data)
        demo.reported(pull)
        return rolls_out(demo, pull)


def rolls_out(demo: Demo, pull: Pull) -> str:
    """A pull request is merged, and what follows is followed into production. Returns the identity."""
    before = str(demo.reviewer.released("staging")["identity"])
    demo.merge(pull)
    identity = demo.released("staging", before)
    demo.takes_traffic("staging", identity)
    demo.timeline.figure("merge -> staging's canary", time.time() - demo.merged, CANARY)
    demo.healthy("staging", identity)
    demo.let_in()
    promote(demo, identity)
    return identity


def fooled_gates(demo: Demo) -> str:
    """A change of the serving code that no gate sees. Returns the identity that is held at the end."""
    with demo.timeline.chapter("3 a change that fools the gates"):
        before = str(demo.reviewer.released("staging")["identity"])
        pull = demo.propose("humidity", "Read humidity as a share, as the new feed has it", misread_humidity)
        demo.reported(pull, UNCHANGED_REPORT, "push -> report, the model unchanged")
        demo.merge(pull)
        bad = demo.released("staging", before)
        demo.takes_traffic("staging", bad)
        demo.aborted("staging", bad)
    with demo.timeline.chapter("4 git and cluster agree again"):
        demo.mark()
        revert = demo.opened("rollback", "staging", bad)
        demo.merge(revert)
        demo.until("main has the earlier release", lambda: demo.released("staging", bad, SHORT) == before, SHORT)
        demo.until("the bad identity is held", lambda: bad in demo.reviewer.held("staging"), SHORT)
        demo.healthy("staging", before)
        demo.until("Argo CD finds the cluster to be what main says", lambda: demo.in_step("staging"), SHORT)
        stays(demo, before)
    return bad


def stays(demo: Demo, identity: str) -> None:
    """What the revert's own commit started ends, and main still has what it had."""
    if (run := demo.settled("deliver.yml", demo.reviewer.head())).conclusion == "failure":
        raise ClusterError(f"the run that the revert started failed: {run.url}\n{demo.explain()}")
    if (found := demo.reviewer.released("staging").get("identity")) != identity:
        raise ClusterError(f"the revert did not last: main releases {found} to staging, not {identity}")
    demo.timeline.event("nothing is released again: the bad identity stays held")


def promote(demo: Demo, identity: str) -> None:
    """The production pull request opens by itself; a person merges it."""
    demo.mark()
    pull = demo.opened("promote", "production", identity)
    before = str(demo.reviewer.released("production").get("identity", ""))
    demo.merge(pull)
    there = demo.released("production", before, SHORT)
    demo.takes_traffic("production", there)
    demo.healthy("production", there)


STEPS: tuple[Callable[[Demo], Any], ...] = (first_release, better_model, fooled_gates)


def more_data(root: Path) -> None:
    """The one line that a person edits."""
    replace(root / "params.yaml", 'end: "2013-03-31"', 'end: "2013-05-31"')


def misread_humidity(root: Path) -> None:
    """Per cent taken for a share, where the golden rows do not pass: tests of models without weather stay green."""
    replace(
        root / "serving/scoring.py",
        "        return self.question(self.codec.decode(body), call, self._written, body)\n",
        "        question = self.question(self.codec.decode(body), call, self._written, body)\n"
        '        if "humid" in self.signature.names:\n'
        '            question.matrix[:, self.signature.names.index("humid")] /= 100\n'
        "        return question\n",
    )


def replace(path: Path, old: str, new: str) -> None:
    """Replace what stands in a file once. Raises ClusterError where it does not."""
    text = path.read_text()
    if text.count(old) != 1:
        raise ClusterError(f"{path.name} has {text.count(old)} times what the demo would replace: {old.strip()!r}")
    path.write_text(text.replace(old, new))


def play(state: State, folder: Path, say: Say, *, uncommitted: bool = False) -> Path:
    """Tell the whole story on a forge of its own; the page. Raises ClusterError, ForgeError."""
    with stage(state, folder, say, uncommitted=uncommitted) as demo:
        for step in STEPS:
            step(demo)
        missed = demo.timeline.missed()
        for name, value in missed.items():
            demo.timeline.say(f"   beyond its limit: {name}, {value:.0f} s")
    return folder / "index.html"


@contextmanager
def stage(
    state: State, folder: Path, say: Say, *, uncommitted: bool = False, title: str = "From a push to production"
) -> Iterator[Demo]:
    """A fresh forge on the cluster, two people with clones, and a timeline that is written however it ends."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    timeline = Timeline(title)
    with timeline.chapter("0 a forge with a fork of this project"):
        if not control.running(state):
            cluster.up(state, say)
        forge.down(state, say)
        forge.up(state, say, uncommitted=uncommitted)
        developer, reviewer = (Hand.of(Folders.of(state), name, folder / name) for name in (DEVELOPER, REVIEWER))
        demo = Demo(state, folder, timeline, developer, reviewer)
        timeline.event("the forge has the fork, Argo CD watches it", demo.web)
    try:
        with sampling(timeline, demo.look):
            yield demo
    finally:
        demo.send_home()
        timeline.write(folder)
        page.render(folder)


def default_folder() -> Path:
    """Where the page is."""
    return PROJECT / "build" / "demo"
