"""Commit messages of releases, rendered from release.yaml, and the trailers that programs read."""

from pipeline.delivery.models import Release
from pipeline.text import number, said

SHORT = 12


def released(verb: str, release: Release, before: Release | None) -> str:
    """Of a release or a promotion: what it replaces, why it may, its figures."""
    expects = release.expects
    lines = [
        _subject(verb, release, before),
        "",
        f"Verdict: {release.verdict.decision}: {said(release.verdict.reason, 1000)}",
        *(f"{name}: {number(value)}" for name, value in release.metrics.items()),
        f"Expected of the canary's scores: distance {number(expects.ks)}, at most {number(expects.max_ks)}",
        "",
        *_trailers(release),
    ]
    return "\n".join(lines) + "\n"


def rolled_back(release: Release, replaced: Release, reason: str) -> str:
    """Of a rollback: what comes back, what is held and why."""
    lines = [
        _subject("rollback", release, replaced),
        "",
        said(reason),
        "",
        f"Identity {replaced.identity[:SHORT]} is held until `flightline unhold` lets it go.",
        "",
        *_trailers(release),
        f"Held: {replaced.identity}",
    ]
    return "\n".join(lines) + "\n"


def held(verb: str, env: str, identity: str, version: str, reason: str) -> str:
    """Of a hold or unhold."""
    lines = [f"{verb}({env}): {version[:SHORT]}", "", said(reason), "", f"Identity: {identity}"]
    return "\n".join(lines) + "\n"


def _subject(verb: str, release: Release, before: Release | None) -> str:
    replaces = f"replaces {before.version[:SHORT]}" if before else "the first"
    if before and before.version == release.version:
        replaces = "the same model on other code or manifests"
    return f"{verb}({release.environment}): {release.version[:SHORT]} {replaces}"


def _trailers(release: Release) -> list[str]:
    return [f"Image: {release.image}", f"Identity: {release.identity}", f"Source: {release.source}"]
