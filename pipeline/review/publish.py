"""publish: the report of main's own commit, where promotions and people find it later."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import paths, reports
from pipeline.config import Frozen
from pipeline.context import Context
from pipeline.delivery.candidate import check_locked, locked
from pipeline.delivery.git import Repository
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

    It needs the bundle and no rows: a release's job has no others. Raises DeliveryError where the bundle is not the one
    that dvc.lock of HEAD names, TableError where the verdict is of another, GitError, UnavailableError.
    """
    repository = Repository.of(context)
    head = repository.head()
    check_locked(context.root / paths.BUNDLE, locked(repository, head), head)
    verdict = standing(context.root)
    place = f"{COMMITS}/{head}"
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
