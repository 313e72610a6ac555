"""The workflows: actionlint and zizmor over them, and the rules of this project that neither knows."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UnavailableError
from pipeline.text import plain
from pipeline.tools import tool
from pipeline.validate.results import Result, grouped, several

NAME = "workflows"
FOLDER = Path(".github")
ZIZMOR = Path(".venv-scan/bin/zizmor")
MOST_LINES = 120
# Each one more is somebody else's code with our tokens: docs/workflows.md says what each is for.
ACTIONS = frozenset(
    "actions/cache actions/checkout actions/create-github-app-token actions/download-artifact actions/upload-artifact "
    "sigstore/cosign-installer".split()
)
RELEASING = ("deliver.yml", "build", "lock", "release", "token", "train")
_CACHES = re.compile(r"actions/cache@|^\s*cache: (?!false)", re.MULTILINE)
_PIN = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<pin>\S+)(?P<comment>.*)")
_SHA, _VERSION = re.compile(r"[0-9a-f]{40}"), re.compile(r"\s+# v\d+\.\d+\.\d+")
_GRANT = re.compile(r"^\s+[a-z-]+: (?:read|write)\b(?P<reason>.*)$", re.MULTILINE)
_IGNORE = re.compile(r"zizmor: ignore\[[\w,-]+\](?P<reason>.*)")

_ACTIONLINT = ("-no-color", "-shellcheck=", "-pyflakes=", "-format", "{{json .}}")

Finding = tuple[str, str]


def check(root: Path) -> Result:
    """Every workflow and action. Raises UnavailableError where a scanner is not installed or fails."""
    files = [*sorted((root / FOLDER / "workflows").glob("*.yml")), *sorted((root / FOLDER / "actions").rglob("*.yml"))]
    found = [one for path in files for one in rules(path.relative_to(root), path.read_text())]
    found += [*_actionlint(root, [path for path in files if path.parent.name == "workflows"]), *_zizmor(root)]
    return Result(NAME, several(len(files), "file"), grouped(found))


def rules(path: Path, text: str) -> Iterator[Finding]:
    """What this project asks of one file beyond its tools."""
    where = str(path)
    if len(text.splitlines()) > MOST_LINES:
        yield where, f"more than {MOST_LINES} lines; move steps to an action, or work to a verb"
    yield from _pins(where, text)
    if path.parent.name == "workflows":
        try:
            document = yaml.load(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError:
            return  # which actionlint says, with the line
        yield from _workflow(where, document, text)
    if {path.name, path.parent.name} & set(RELEASING) and _CACHES.search(text):
        yield where, "restores a cache on the way to a release, which a pull request might have filled; leave it out"


def _pins(where: str, text: str) -> Iterator[Finding]:
    for used in _PIN.finditer(text):
        if used["action"] not in ACTIONS:
            yield where, f"uses {used['action']}, which is not among the actions of pipeline/validate/workflows.py"
        if not _SHA.fullmatch(used["pin"]) or not _VERSION.match(used["comment"]):
            yield (
                where,
                f"uses {used['action']}@{used['pin']}; pin the commit's 40 digits, and write `# v1.2.3` after it",
            )


def _workflow(where: str, document: Mapping[Any, Any], text: str) -> Iterator[Finding]:
    # YAML 1.1 reads the key `on` as true.
    events = document.get("on", document.get(True)) or {}
    if "pull_request_target" in events:
        yield where, "runs on pull_request_target, with secrets, what a stranger may have written; use workflow_run"
    if document.get("permissions") != {}:
        yield where, "says no `permissions: {}` at the top, and so gives every job what the repository's default is"
    if "concurrency" not in document and "workflow_call" not in events:
        yield where, "has no concurrency group"
    for name, job in document.get("jobs", {}).items():
        yield from ((where, f"job {name}: {fault}") for fault in _job(job))
    jobs = text.partition("\njobs:")[2]
    yield from (
        (where, f"grants `{one[0].strip()}` without a reason") for one in _GRANT.finditer(jobs) if not _said(one)
    )


def _job(job: Mapping[str, Any]) -> Iterator[str]:
    if "permissions" not in job:
        yield "says no permissions"
    if "timeout-minutes" not in job and "uses" not in job:
        yield "has no timeout-minutes"
    if "secrets." in str(job) and job.get("environment") is None:
        yield "has secrets without an environment, which is what keeps them to main"
    for step in job.get("steps", ()):
        if str(step.get("uses", "")).startswith("actions/checkout@") and step["with"].get("persist-credentials", True):
            yield "checks out with persist-credentials, which leaves its token in .git/config"


def _said(match: re.Match[str]) -> bool:
    return match["reason"].strip().startswith("# ")


def _actionlint(root: Path, files: Sequence[Path]) -> Iterator[Finding]:
    """Named one by one: left to look for them itself, it wants a .git beside them."""
    done = subprocess.run(
        [str(tool("actionlint")), *_ACTIONLINT, *(str(path.relative_to(root)) for path in files)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:
        raise UnavailableError(f"actionlint failed: {plain(done.stderr)[-500:]}")
    for one in json.loads(done.stdout or "[]"):
        yield f"{one['filepath']}:{one['line']}", f"actionlint: {one['message']}"


def _zizmor(root: Path) -> Iterator[Finding]:
    """Its auditor's view, without a network. An ignore says why, on its line or the one before."""
    binary = (root / ZIZMOR).absolute()
    words = ["--offline", "--persona=auditor", "--no-progress", "--no-exit-codes", "--format=json-v1", str(FOLDER)]
    try:
        done = subprocess.run([str(binary), *words], cwd=root, capture_output=True, text=True, check=False)
        findings = json.loads(done.stdout)
    except FileNotFoundError as error:
        raise UnavailableError(f"{binary} is not there; `make validate` installs it") from error
    except ValueError as error:
        raise UnavailableError(f"zizmor failed: {plain(done.stderr)[-500:]}") from error
    for one in findings:
        if not one["ignored"]:
            yield _place(one["locations"]), f"zizmor {one['ident']}: {one['desc']}; {one['url']}"
    yield from _unreasoned(root)


def _place(locations: Sequence[Mapping[str, Any]]) -> str:
    """File and line of the first location."""
    first = locations[0]
    path = first["symbolic"]["key"]["Local"]["verbatim_path"] if "Local" in first["symbolic"]["key"] else str(FOLDER)
    return f"{path}:{first['concrete']['location']['start_point']['row'] + 1}"


def _unreasoned(root: Path) -> Iterator[Finding]:
    for path in sorted((root / FOLDER).rglob("*.yml")):
        lines = path.read_text().splitlines()
        for at, line in enumerate(lines):
            ignore = _IGNORE.search(line)
            if ignore and not ignore["reason"].strip() and not lines[at - 1].strip().startswith("#"):
                yield f"{path.relative_to(root)}:{at + 1}", "zizmor is told to ignore something without a reason"
