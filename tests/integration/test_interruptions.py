"""Killed anywhere, out of disk, or two at once: the next run finishes what the last one did not."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from serving import bundle
from tests import verdicts
from tests.checkouts import Checkout, checkout

pytestmark = pytest.mark.flights

# What each stage makes; it is killed as soon as a file of it is there, so in the middle of writing.
MADE = {
    "fetch": "build/raw",
    "prepare": "build/rows",
    "train": "build/model",
    "evaluate": "build/evaluation",
    "bundle": "build/bundle",
}
# build/ on a disk of its own with the room given, in a mount namespace that ends with the script.
FULL_DISK = """
mv build saved && mkdir build && mount -t tmpfs -o size={room}k full build || exit 90
mv saved/{made} made 2>/dev/null; cp -a saved/. build/ || exit 91
{command}; code=$?
mount -o remount,size=1g build || exit 92
({command}) >/dev/null || exit 93
[ ! -e made ] || diff -r made build/{made} || exit 94
exit $code
"""


def kill_in(made: Checkout, stage: str, attempts: int = 5) -> None:
    """Start `dvc repro`, and kill -9 all of it while a stage writes; again where the stage was over too soon."""
    shutil.rmtree(made.root / MADE[stage], ignore_errors=True)
    for attempt in range(attempts):
        again = ("--force", "--single-item", stage) if attempt else ()
        process = made.start("dvc", "repro", *again)
        caught = stopped_while_writing(process, stage, made.root / MADE[stage])
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        assert alive or process.returncode == 0, said
        if caught:
            assert process.returncode == -signal.SIGKILL
            return
    raise AssertionError(f"{stage} was over before it could be killed, {attempts} times")


def stopped_while_writing(process: subprocess.Popen[str], stage: str, made: Path) -> bool:
    """Whether the stage's own process was stopped, so that it cannot end by itself, after its first file."""
    while process.poll() is None:
        found = process_of(process.pid, stage)
        if found is None or not any(path.is_file() for path in made.rglob("*")):
            time.sleep(0.002)
            continue
        with suppress(psutil.NoSuchProcess):
            found.suspend()
            time.sleep(0.01)
            return process.poll() is None and bool(found.status() == psutil.STATUS_STOPPED)
    return False


def process_of(parent: int, stage: str) -> psutil.Process | None:
    """The Python process that runs `flightline STAGE` under dvc."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] == [stage]:  # dvc's shell has "flightline STAGE" there
                    return child
    return None


def without_room(made: Checkout, command: str, made_there: str, room: int) -> subprocess.CompletedProcess[str]:
    """Run a command with `room` KiB for what it makes, then again with plenty; the first one's exit code and words."""
    script = FULL_DISK.format(command=command, made=made_there, room=room)
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=made.root,
        env=made.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def kibibytes(folder: Path, but: Path) -> int:
    """What a folder takes on a disk in pages of 4 KiB, without one of its parts."""
    files = [path for path in folder.rglob("*") if path.is_file() and but not in path.parents]
    return sum(-(-path.stat().st_size // 4096) * 4 for path in files)


def test_killed_in_the_middle_of_any_stage_the_next_run_finishes(reproduced: Checkout, tmp_path: Path) -> None:
    made = checkout(tmp_path)
    for stage in MADE:
        kill_in(made, stage)
    made.run("dvc", "repro")
    assert bundle.version(tmp_path / "build/bundle") == bundle.version(reproduced.root / "build/bundle")


@pytest.mark.parametrize("room", [1000, 9000, 12000])
def test_full_disk_is_named_while_data_comes_and_the_next_run_finishes(copy: Checkout, room: int) -> None:
    shutil.rmtree(copy.root / "build")
    (copy.root / "build").mkdir()
    failed = without_room(copy, "flightline fetch && flightline prepare", "nothing", room)
    assert (failed.returncode, failed.stderr.count("\n")) == (74, 1), failed.stderr
    assert "No space left on device" in failed.stderr


@pytest.mark.parametrize(("verb", "spare"), [("train", 64), ("evaluate", 4), ("bundle", 8), ("report", 100)])
def test_full_disk_is_named_by_every_later_verb_and_the_next_run_finishes(
    copy: Checkout, verb: str, spare: int
) -> None:
    (copy.root / "build/verdict.json").write_text(verdicts.verdict().model_dump_json())
    made = copy.root / MADE.get(verb, "build/plots")
    room = kibibytes(copy.root / "build", made) + spare
    failed = without_room(copy, f"flightline {verb}", made.name, room)
    assert (failed.returncode, failed.stderr.count("\n")) == (74, 1), failed.stderr
    assert "No space left on device" in failed.stderr


def test_two_repros_at_once_end_with_one_whole_bundle(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"]["logistic"].update(C=0.5))
    both = [copy.start("dvc", "repro") for _ in range(2)]
    assert sorted(process.wait(timeout=240) for process in both)[0] == 0
    copy.run("dvc", "repro")
    bundle.load(copy.root / "build/bundle")
