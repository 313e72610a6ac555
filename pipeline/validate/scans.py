"""`make security`: hadolint, secrets, and the dependencies' known faults; the workflows and manifests besides."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UnavailableError
from pipeline.text import plain
from pipeline.validate.results import Result, grouped, several

FOLDER = Path(".venv-scan/bin")
DOCKERFILES = ("Dockerfile", "infra/images/training.Dockerfile")
# The shortest first: where the database does not answer for it, nobody asks about hundreds more. dev holds every
# environment that trains, judges, releases and serves.
LOCKS = ("uv", "dev", "scan")
# Locks and schemas are hashes and names of fields throughout.
NO_SECRETS = r"(^|/)(go\.sum|requirements/.*\.txt|dvc\.lock|infra/schemas/.*\.json)$"
# Every digest is a hexadecimal string, and every manifest has the word: what these two find here is never a secret.
NOISE = ("HexHighEntropyString", "KeywordDetector")
_SECONDS = 600


def dockerfile(root: Path) -> Result:
    """By hadolint. Raises UnavailableError."""
    there = [name for name in DOCKERFILES if (root / name).is_file()]
    found = _json(root, "hadolint", "--no-fail", "--format", "json", *there)
    faults = [(f"{one['file']}:{one['line']}", f"{one['code']} {one['message']}") for one in found]
    return Result("dockerfile", "hadolint", grouped(faults))


def secrets(root: Path) -> Result:
    """Keys, tokens and passwords in what git tracks. `# pragma: allowlist secret` lets a line of a test pass."""
    noise = [word for plugin in NOISE for word in ("--disable-plugin", plugin)]
    found = _json(root, "detect-secrets", "scan", *noise, "--exclude-files", NO_SECRETS)
    faults = [
        (f"{path}:{one['line_number']}", f"{one['type']}: take it out, and change it wherever it is valid")
        for path, several_ in found["results"].items()
        for one in several_
    ]
    return Result("secrets", f"{len(found['plugins_used'])} kinds looked for", grouped(faults))


def dependencies(root: Path) -> Result:
    """pip-audit over the locks. What could not be looked up has not passed. Raises UnavailableError."""
    count, faults = 0, list[str]()
    for name in LOCKS:
        lock = Path("requirements") / f"{name}.txt"
        report = _audited(root, lock)
        count += len(report["dependencies"])
        faults += judged(str(lock), report)
        if _unknown(report):
            break
    return Result("dependencies", several(count, "locked package"), tuple(faults))


def judged(where: str, report: dict[str, Any]) -> Iterator[str]:
    """The sentences about one report: each fault that is known, and what nobody could say anything about."""
    if unknown := _unknown(report):
        named = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")  # noqa: PLR2004
        yield (
            f"{where}: {named} could not be audited: the database did not answer for them; run it where "
            "https://pypi.org/pypi/ can be reached, or `make security OFFLINE=1` for the rest"
        )
    for one in report["dependencies"]:
        for fault in one.get("vulns", ()):
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            yield f"{where}: {one['name']} {one['version']}: {fault['id']}; fixed in {fixed}"


def _unknown(report: dict[str, Any]) -> list[str]:
    """Packages that the database said nothing about, which pip-audit itself lets pass."""
    return [one["name"] for one in report["dependencies"] if "skip_reason" in one]


def _audited(root: Path, lock: Path) -> dict[str, Any]:
    """pip-audit exits 1 where it finds something, and prints no report where it is in trouble itself."""
    words = ("--requirement", str(lock), "--require-hashes", "--disable-pip", "--format", "json")
    report: dict[str, Any] = _json(root, "pip-audit", *words, "--progress-spinner", "off")
    return report


def _json(root: Path, program: str, *words: str) -> Any:
    """What a scanner prints. Raises UnavailableError where it is not installed, or prints something else."""
    binary = (root / FOLDER / program).absolute()
    try:
        done = subprocess.run(
            [str(binary), *words],
            cwd=root,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env=_environment(binary),
        )
        return json.loads(done.stdout)
    except FileNotFoundError as error:
        raise UnavailableError(f"{binary} is not there; `make security` installs it") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{program} took over {_SECONDS} s; run `make security` again") from error
    except ValueError as error:
        said = plain(done.stderr.decode(errors="replace"))[-500:]
        raise UnavailableError(f"{program} could not do its work, so nothing is proved: {said}") from error


def _environment(binary: Path) -> dict[str, str]:
    """pip-audit looks for the pip beside it."""
    return {**os.environ, "PATH": os.pathsep.join([str(binary.parent), os.environ.get("PATH", os.defpath)])}


def offline(root: Path) -> Sequence[Result]:
    """What needs no database."""
    return (dockerfile(root), secrets(root))
