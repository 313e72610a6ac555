"""evidence: what the run of a pull request found, put together in build/evidence for main's code to read.

It runs after the gates whatever became of them. What cannot be had is left out with a note: evidence of a run that
went wrong is worth most.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvcfiles, paths
from pipeline.config import ConfigError
from pipeline.context import Context
from pipeline.delivery import plan
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError
from pipeline.errors import GitError, UnavailableError, foreseen
from pipeline.frames import TableError, write_text
from pipeline.review import differences
from pipeline.review.models import EVIDENCE, MOST_PLOTS, PLOTS, VERDICT, Evidence, Figure, Outcome, Provenance
from pipeline.text import clipped, plain
from pipeline.verdict import Verdict
from serving import bundle
from serving.bundle import BundleError

FOLDER = paths.BUILD / "evidence"
LOCK, STAGES = "dvc.lock", "dvc.yaml"
_LINE = 400

Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What became of the run: the verdict, where it speaks of what is here, or why there is none."""

    outcome: Outcome
    reason: str = ""
    verdict: Verdict | None = None


@dataclass
class _Notes:
    """What could not be had."""

    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.lines.append(clipped(plain(text), _LINE))


def collect(context: Context, base: str, say: Say) -> Evidence:
    """Write build/evidence and return what its evidence.json says. Raises GitError where `base` is no commit here."""
    folder = context.root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / PLOTS).mkdir(parents=True)
    say("what changed, and what came of it")
    evidence, verdict = gather(context, base)
    if verdict is not None:
        say("pictures")
        write_text(folder / VERDICT, verdict.model_dump_json() + "\n")
        draw(verdict, folder / PLOTS)
    write_text(folder / EVIDENCE, evidence.model_dump_json(indent=2) + "\n")
    return evidence


def draw(verdict: Verdict, folder: Path) -> dict[str, bytes]:
    """The pictures of the report as PNG files; their bytes by file name."""
    from pipeline.report import plots
    from pipeline.report.document import document

    drawn = {f"{one.name}.png": plots.png(one) for one in document(verdict).pictures[:MOST_PLOTS]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in drawn.items():
        (folder / name).write_bytes(data)
    return drawn


def gather(context: Context, base: str) -> tuple[Evidence, Verdict | None]:
    """The evidence and the verdict it speaks of."""
    repository, notes = Repository.of(context), _Notes()
    head, against = repository.head(), repository.text("rev-parse", "--verify", f"{base}^{{commit}}")
    ancestor = repository.common(against, head)
    if ancestor is None:
        raise GitError(f"{base} and HEAD have no commit in common; fetch all of main's history")
    machine, model = _scope(context, against, head, notes)
    found = outcome(context, model=model)
    before = dict(zip((paths.PARAMS.as_posix(), LOCK), _files(repository, ancestor), strict=True))
    evidence = Evidence(
        head=head,
        base=ancestor,
        machine=machine,
        model=model,
        outcome=found.outcome,
        reason=clipped(plain(found.reason), _LINE),
        metrics=_metrics(context, before[LOCK], ancestor, notes),
        params=_differing(differences.parameters, before, paths.PARAMS.as_posix(), context.root, notes)[:200],
        data=_differing(differences.outputs, before, LOCK, context.root, notes)[:60],
        provenance=_provenance(context, found.verdict),
        notes=tuple(notes.lines[:10]),
    )
    return evidence, found.verdict


def outcome(context: Context, *, model: bool) -> Found:
    """What the files in build/ say became of the run. Where the model stays as it is, no verdict is asked for."""
    found = _judged(context)
    if found.verdict is None and not model:
        return Found("unchanged", "nothing that the bundle is made of changed")
    return found


def _judged(context: Context) -> Found:
    from pipeline.evidence import check_fresh

    try:
        check_fresh(context)
    except (TableError, ConfigError, OSError, ValueError) as error:
        stage = unfinished(context.root)
        return Found("not reproduced", f"stage {stage} did not finish" if stage else _sentence(error))
    try:
        return Found("judged", verdict=standing(context.root))
    except TableError as error:
        return Found("not judged", f"the model was reproduced, but the gates came to no verdict: {_sentence(error)}")


def standing(root: Path) -> Verdict:
    """The verdict on disk. Raises TableError where there is none, or one on another bundle than is here."""
    from pipeline.gate import read_verdict

    verdict = read_verdict(root)
    if verdict.candidate.version != bundle.version(root / paths.BUNDLE):
        raise TableError(f"{paths.VERDICT} speaks of another bundle than {paths.BUNDLE}; run `flightline gate`")
    return verdict


def unfinished(root: Path) -> str:
    """The first stage whose outputs are not all there: DVC removes them before it runs a stage. "" where all are."""
    try:
        stages = yaml.safe_load((root / STAGES).read_text())["stages"]
        return next(
            (name for name, stage in stages.items() if not all((root / path).exists() for path in _outputs(stage))), ""
        )
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return ""


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    listed = [*(stage.get("outs") or ()), *(stage.get("metrics") or ()), *(stage.get("plots") or ())]
    return [next(iter(one)) if isinstance(one, dict) else str(one) for one in listed]


def _scope(context: Context, base: str, head: str, notes: _Notes) -> tuple[bool, bool]:
    """(only machines wrote it, the model changes); where git cannot tell, there is something to judge."""
    try:
        machine, model = plan.compared(context, base, head)
    except foreseen() as error:
        notes.add(f"what changed cannot be told: {_sentence(error)}")
        return False, True
    return machine[0], model[0]


def _files(repository: Repository, commit: str) -> list[bytes | None]:
    return repository.blobs([f"{commit}:{paths.PARAMS}", f"{commit}:{LOCK}"])


def _differing(
    differ: Callable[[bytes | None, bytes | None], tuple[Any, ...]],
    before: Mapping[str, bytes | None],
    name: str,
    root: Path,
    notes: _Notes,
) -> tuple[Any, ...]:
    """What differs in a file between its text before and the work tree's."""
    path = root / name
    try:
        return differ(before[name], path.read_bytes() if path.is_file() else None)
    except (ConfigError, ValueError) as error:
        notes.add(f"{name} cannot be compared: {_sentence(error)}")
        return ()


def _metrics(context: Context, lock: bytes | None, base: str, notes: _Notes) -> tuple[Figure, ...]:
    """metrics.json of both sides; base's comes from DVC, unless it is the very same file."""
    path = context.root / paths.METRICS
    try:
        head = path.read_bytes() if path.is_file() else None
        said = next((one.base for one in differences.outputs(lock, None) if one.path == paths.METRICS.as_posix()), None)
        if head is not None and said == dvcfiles.md5(head):
            return _figures(head, head)
        return _figures(_of_base(context, base) if said else None, head)[:60]
    except foreseen() as error:
        notes.add(f"figures of the base are not shown: {_sentence(error)}")
        return _figures(None, path.read_bytes() if path.is_file() else None)[:60]


def _figures(base: bytes | None, head: bytes | None) -> tuple[Figure, ...]:
    return differences.figures(*(json.loads(one) if one else None for one in (base, head)))


def _of_base(context: Context, base: str) -> bytes:
    """metrics.json as base's dvc.lock names it. Raises UnavailableError."""
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    remote = context.settings.trusted_remote
    try:
        # At a revision DVC resolves a relative remote against "/", so the work tree's resolved setting is handed over.
        here = Repo(str(context.root)).config["remote"][remote]
        files = DVCFileSystem(str(context.root), rev=base, remote=remote, remote_config=dict(here))
        content: bytes = files.cat_file(f"/{paths.METRICS.as_posix()}")
    except Exception as error:
        raise UnavailableError(f"DVC remote {remote!r} does not give them ({_sentence(error)})") from error
    return content


def _provenance(context: Context, verdict: Verdict | None) -> Provenance | None:
    """What the bundle that was judged is made of."""
    if verdict is None:
        return None
    try:
        made = json.loads((context.root / paths.BUNDLE / "inputs.json").read_text())
        released = verdict.production.version if verdict.production else None
        return Provenance(version=verdict.candidate.version, production=released, **made)
    except (OSError, ValueError, BundleError, DeliveryError):
        return None


def _sentence(error: Exception) -> str:
    return plain(str(error).partition("\n")[0])[:300]
