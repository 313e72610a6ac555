"""publish: the report of main's own commit, where promotions and people find it later."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import reports
from pipeline.config import Frozen
from pipeline.context import Context
from pipeline.delivery.git import Repository
from pipeline.evidence import check_fresh
from pipeline.report import markdown
from pipeline.report.document import document
from pipeline.review.collect import draw, standing
from pipeline.review.models import PLOTS, VERDICT
from pipeline.verdict import Verdict

COMMITS, REPORT = "commits", "report.md"


class Published(Frozen):
    """Where it is on the branch."""

    folder: str
    files: tuple[str, ...]


def publish(context: Context, say: Callable[[str], None]) -> Published:
    """Put build/verdict.json, its report and pictures on the branch `reports`, under commits/<HEAD>.

    Raises TableError where the verdict is not of what is here, GitError, UnavailableError.
    """
    check_fresh(context)
    repository, verdict = Repository.of(context), standing(context.root)
    place = f"{COMMITS}/{repository.head()}"
    say("drawing")
    files = written(verdict)
    say(f"pushing to {reports.BRANCH}")
    reports.publish(repository, place, files)
    return Published(folder=place, files=tuple(files))


def written(verdict: Verdict) -> dict[str, bytes]:
    """The files of a report, by their path in its folder."""
    with TemporaryDirectory(prefix="flightline-") as scratch:
        drawn = draw(verdict, Path(scratch))
    text = markdown.text(document(verdict), pictures="png")
    pictures = {f"{PLOTS}/{name}": data for name, data in drawn.items()}
    return {REPORT: text.encode(), VERDICT: verdict.model_dump_json(indent=2).encode() + b"\n", **pictures}
