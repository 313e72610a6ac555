import os
from pathlib import Path

import pytest

from infra.local import job
from infra.local.job import View

OURS, THEIRS = "flightline/flightline", "stranger/flightline"


@pytest.mark.parametrize("head", [job.NO_PULL_REQUEST, OURS])
def test_push_and_branch_of_the_repository_itself_are_its_own(head: str) -> None:
    assert not job.foreign(OURS, head)


@pytest.mark.parametrize("head", [THEIRS, "", f"{OURS}/", "-x"])
def test_branch_of_another_repository_or_of_one_that_is_gone_is_foreign(head: str) -> None:
    assert job.foreign(OURS, head)


def test_what_is_hidden_is_named_once_and_never_the_root() -> None:
    folders = ("/home/me/.cache/flightline", "/home/me", "/home/mey", "/tmp", "/")  # noqa: S108
    assert job.outermost(folders) == ("/home/me", "/home/mey", "/tmp")  # noqa: S108


def test_cache_of_a_stranger_starts_as_links_in_folders_of_its_own(tmp_path: Path) -> None:
    cache, own = tmp_path / "cache", tmp_path / "own"
    (cache / "wheels").mkdir(parents=True)
    (cache / "wheels" / "one").write_text("bytes")
    (cache / "newest").symlink_to("wheels")
    job.link(cache, own)
    assert (own / "wheels" / "one").samefile(cache / "wheels" / "one")
    assert not (own / "wheels").samefile(cache / "wheels")
    assert (own / "newest").readlink() == Path("wheels")
    (own / "wheels" / "planted").write_text("mine")
    (own / "wheels" / "one").unlink()
    assert [one.name for one in (cache / "wheels").iterdir()] == ["one"]


@pytest.mark.skipif(os.geteuid() != 0, reason="folders are given away, which root alone can")
def test_marks_of_a_cache_are_left_to_whoever_uses_it_and_empty_modules_stay(tmp_path: Path) -> None:
    """uv opens `sdists-v11/.git` to write: where that is a link to another's file, it fails."""
    mark, module = tmp_path / "uv/sdists-v11/.git", tmp_path / "uv/archive-v0/hash/package/__init__.py"
    for one in (mark, module):
        one.parent.mkdir(parents=True)
        one.touch()
    job.give(tmp_path)
    assert not mark.exists()
    assert module.exists()
    assert mark.parent.stat().st_uid == job.STRANGER


def test_cache_that_is_not_there_starts_empty(tmp_path: Path) -> None:
    job.link(tmp_path / "none", tmp_path / "own")
    assert list((tmp_path / "own").iterdir()) == []


def test_stranger_is_given_no_place_that_others_have(tmp_path: Path) -> None:
    given = {"HOME": "/home/me", "UV_CACHE_DIR": "/home/me/.cache/uv", "PATH": "/usr/bin", "PIP_CERT": "/etc/ca.pem"}
    seen = job.environment(tmp_path, given)
    assert not [name for name, value in seen.items() if value.startswith("/home/me")]
    assert all(
        Path(seen[name]).is_relative_to(tmp_path)
        for name in ("HOME", "TMPDIR", "FLIGHTLINE_CACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR", "GOCACHE", "GOMODCACHE")
    )
    assert seen["PIP_CERT"] == "/etc/ca.pem"
    assert seen["PATH"].split(os.pathsep) == [str(tmp_path / "bin"), "/usr/bin"]


def test_view_is_read_as_it_was_written(tmp_path: Path) -> None:
    view = View("/tools/runner", {"runner": {"capacity": 3}}, {"cosign": "/tools/cosign"}, ("/root",), (), "/uv", "/c")
    view.write(tmp_path)
    assert View.read(tmp_path) == view
    assert "capacity" in job.settings(tmp_path).read_text()
