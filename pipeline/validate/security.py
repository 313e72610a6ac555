"""checkov over every object and the Dockerfile, without a network. What is skipped says why, on the object itself."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UnavailableError
from pipeline.text import plain
from pipeline.validate.renders import Document, written
from pipeline.validate.results import Result, grouped, several

NAME = "security"
DOCKERFILE = Path("Dockerfile")
CHECKOV = Path(".venv-scan/bin/checkov")
_SKIP = re.compile(r"(?:CKV\w*)=(?P<reason>.*)", re.DOTALL)
_IN_DOCKERFILE = re.compile(r"#\s*checkov:skip=(?P<check>\w+)(?::(?P<reason>.*))?")
_MIN_REASON = 10


def check(root: Path, documents: Sequence[Document], scratch: Path) -> Result:
    """Every built-in check on every object. Raises UnavailableError where checkov is not installed or fails."""
    files = {f"/{path.name}": document for path, document in written(documents, scratch, _text)}
    shutil.copy(root / DOCKERFILE, scratch / DOCKERFILE)
    reports = _checkov(root, scratch)
    failed = [one for report in reports for one in report["results"]["failed_checks"]]
    skipped = sum(report["summary"]["skipped"] for report in reports)
    passed = sum(report["summary"]["passed"] for report in reports)
    failures = [_failure(one, files) for one in sorted(failed, key=itemgetter("file_path"))]
    failures += [(path, "checkov cannot read it") for path in _unread(reports)]
    failures += _unreasoned(root, documents)
    return Result(NAME, f"{several(passed, 'check')} passed, {skipped} skipped with a reason", grouped(failures))


def known(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object as checkov knows it: it passes over a Rollout, whose pods are those of a Deployment."""
    if body.get("kind") == "Rollout":
        return {**body, "apiVersion": "apps/v1", "kind": "Deployment"}
    return dict(body)


def _text(document: Document) -> str:
    return yaml.dump(known(document.body), Dumper=yaml.CSafeDumper)


def _checkov(root: Path, folder: Path) -> list[Any]:
    """Its reports. An empty home and working folder, so that no configuration skips a check for everything."""
    binary = (root / CHECKOV).absolute()
    home = folder.parent / f"{folder.name}-home"
    home.mkdir()
    only = ["--framework", "kubernetes", "dockerfile", "--skip-download", "--compact", "--output", "json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CKV_", "BC_", "PRISMA_"))}
    try:
        done = subprocess.run(
            [str(binary), "--directory", str(folder), *only],
            capture_output=True,
            check=False,
            cwd=home,
            env={**environment, "HOME": str(home)},
        )
        answer = json.loads(done.stdout)
    except FileNotFoundError as error:
        raise UnavailableError(f"{binary} is not there; `make validate` installs it") from error
    except ValueError as error:
        raise UnavailableError(f"checkov failed: {plain(done.stderr.decode(errors='replace'))[-500:]}") from error
    return answer if isinstance(answer, list) else [answer]


def _failure(one: Mapping[str, Any], files: Mapping[str, Document]) -> tuple[str, str]:
    fault = f"{one['check_id']} {one['check_name']}; mend it, or skip it there with the reason"
    if document := files.get(one["file_path"]):
        return document.where, f"{document.name}: {fault}"
    return f"{one['file_path'].lstrip('/')}:{one['file_line_range'][0]}", fault


def _unread(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for report in reports:
        yield from (f"/{Path(path).name}" for path in report["results"].get("parsing_errors", ()))


def _unreasoned(root: Path, documents: Sequence[Document]) -> Iterator[tuple[str, str]]:
    """Skips that give no reason to speak of."""
    for document in documents:
        for key, value in (document.metadata.get("annotations") or {}).items():
            if key.startswith("checkov.io/skip") and not _reasoned(_SKIP.fullmatch(str(value))):
                yield document.where, f"{document.name}: {key} is {value!r}; say why, as CKV_...=reason"
    for match in _IN_DOCKERFILE.finditer((root / DOCKERFILE).read_text()):
        if not _reasoned(match):
            yield (
                str(DOCKERFILE),
                f"{match['check']} is skipped without a reason; say why, as checkov:skip=CKV_...:reason",
            )


def _reasoned(match: re.Match[str] | None) -> bool:
    return match is not None and len((match["reason"] or "").strip()) >= _MIN_REASON
