"""Killed anywhere, out of disk, or two at once: the next run finishes what the last one did not."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from serving import bundle
from tests.checkouts import Checkout, checkout


def kill_in(made: Checkout, stage: str, delay: float) -> None:
    """Start `dvc repro`, and kill -9 all of it `delay` seconds into a stage."""
    process = made.start("dvc", "repro", PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"Running stage '{stage}'"):
            break
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_the_middle_of_any_stage_the_next_run_finishes(reproduced: Checkout, tmp_path: Path) -> None:
    made = checkout(tmp_path)
    for stage, delay in (("fetch", 1.8), ("prepare", 1.6), ("train", 1.6), ("evaluate", 1.4), ("bundle", 1.4)):
        kill_in(made, stage, delay)
    made.run("dvc", "repro")
    assert bundle.version(tmp_path / "build/bundle") == bundle.version(reproduced.root / "build/bundle")


@pytest.mark.parametrize("megabytes", [1, 9, 12])
def test_full_disk_is_named_and_loses_nothing(copy: Checkout, megabytes: int) -> None:
    """build/ on a disk of its own, in a mount namespace that ends with the command."""
    before = bundle.version(copy.root / "build/bundle")
    script = f"mount -t tmpfs -o size={megabytes}m full build && flightline fetch && flightline prepare"
    failed = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=copy.root,
        env=copy.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 74, failed.stderr
    assert "No space left on device" in failed.stderr
    assert "Traceback" not in failed.stderr
    copy.run("dvc", "repro")
    assert bundle.version(copy.root / "build/bundle") == before


def test_two_repros_at_once_end_with_one_whole_bundle(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.5))
    both = [copy.start("dvc", "repro") for _ in range(2)]
    assert sorted(process.wait(timeout=240) for process in both)[0] == 0
    copy.run("dvc", "repro")
    bundle.load(copy.root / "build/bundle")
