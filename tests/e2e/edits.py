"""What people change on a branch: each a function of the checkout's root."""

import re
from collections.abc import Callable
from pathlib import Path

from infra.local.demo import replace
from pipeline.delivery.freeze import FREEZE

Edit = Callable[[Path], None]


def note(text: str) -> Edit:
    """A file that nothing depends on."""

    def edit(root: Path) -> None:
        with (root / "docs/notes.md").open("a") as out:
            out.write(f"{text}\n")

    return edit


def request(cpu: str) -> Edit:
    """Another release of the same image."""
    return lambda root: edited(root / "k8s/base/rollout.yaml", r"cpu: \d+m", f"cpu: {cpu}")


def scores(least: str) -> Edit:
    """One more, by another file: how many scores staging's analysis wants before it says anything."""
    return lambda root: edited(root / "k8s/overlays/staging/analysis.yaml", r"min-scores: .*", f"min-scores: '{least}'")


def until(day: str) -> Edit:
    """Another window of data."""
    return lambda root: replace(root / "params.yaml", 'end: "2013-05-31"', f'end: "{day}"')


def regularised(strength: str) -> Edit:
    """The same model, or a useless one."""
    return lambda root: replace(root / "params.yaml", "C: 0.1", f"C: {strength}")


def frozen(root: Path) -> None:
    """No release and no promotion to production."""
    (root / FREEZE).write_text("- environments: [production]\n  reason: Holidays\n")


def comment(root: Path) -> None:
    """Another code image of the same server."""
    with (root / "serving/__main__.py").open("a") as out:
        out.write("\n# Nothing but a comment.\n")


def edited(path: Path, pattern: str, by: str) -> None:
    """Replace the first match of a pattern."""
    text, count = re.subn(pattern, by, path.read_text(), count=1)
    assert count == 1, f"{path} has no {pattern}"
    path.write_text(text)
