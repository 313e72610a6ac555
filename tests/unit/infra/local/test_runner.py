import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import runner
from infra.local.components import ClusterError
from infra.local.gitea import Folders, Person


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "runner").mkdir()
    return Folders(tmp_path)


def test_jobs_are_given_the_way_to_registries_and_no_secret(folders: Folders) -> None:
    given = {
        "HTTPS_PROXY": "http://proxy.example.com",
        "no_proxy": "127.0.0.1,localhost",
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "PIP_INDEX_URL": "https://mirror.example.com",
        "GOPROXY": "https://proxy.example.com",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "GITHUB_TOKEN": "hidden",
        "FLIGHTLINE_TOKEN": "hidden",
        "VIRTUAL_ENV": "hidden",
        "PYTHONPATH": "hidden",
        "PYTHONDONTWRITEBYTECODE": "hidden",
        "HOME": "/home/me",
        "PATH": "/home/me/.venv/bin:/usr/bin",
    }
    seen = runner.jobs_environment(folders, given)
    assert "hidden" not in seen.values()
    assert {name: seen[name] for name in list(given)[:5]} == {name: given[name] for name in list(given)[:5]}
    assert "/home/me/.venv/bin" not in seen["PATH"].split(os.pathsep)


def test_jobs_have_a_home_of_their_own_and_warm_caches(folders: Folders) -> None:
    seen = runner.jobs_environment(folders, {"HOME": "/home/me", "GOPATH": "/go"})
    assert Path(seen["HOME"]).is_relative_to(folders.root)
    assert Path(seen["TMPDIR"]).is_relative_to(folders.root)
    assert (seen["UV_CACHE_DIR"], seen["GOMODCACHE"]) == ("/home/me/.cache/uv", "/go/pkg/mod")


def test_two_jobs_never_share_a_folder(folders: Folders) -> None:
    settings = runner.configuration(folders)
    assert settings["runner"]["capacity"] > 1
    assert settings["container"]["bind_workdir"]


def test_strangers_see_nothing_of_who_started_the_forge_but_what_jobs_need(folders: Folders, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    given = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_FIND_LINKS": str(wheels), "MINE": str(tmp_path)}
    view = runner.view(folders, given, tmp_path / "runner", {})
    assert any(folders.root.is_relative_to(one) for one in view.hidden)
    assert {"/tmp", "/var/tmp"} & set(view.hidden)  # noqa: S108
    assert {sys.base_prefix, str(wheels)} <= set(view.shown)
    assert str(tmp_path) not in view.shown


def test_process_that_was_recorded_is_the_one_that_runs(folders: Folders) -> None:
    file = folders.runner / "process.json"
    assert runner.running(folders) is None
    with subprocess.Popen(["sleep", "60"]) as process:
        started = Path(f"/proc/{process.pid}/stat").read_text().split()[21]
        file.write_text(json.dumps({"pid": process.pid, "started": started}))
        assert runner.running(folders) == process.pid
        file.write_text(json.dumps({"pid": process.pid, "started": f"{started}0"}))
        assert runner.running(folders) is None, "its number may have gone to another process"
        process.kill()


def test_runner_that_was_stopped_is_forgotten(folders: Folders) -> None:
    process = subprocess.Popen(["sleep", "60"])
    started = Path(f"/proc/{process.pid}/stat").read_text().split()[21]
    (folders.runner / "process.json").write_text(json.dumps({"pid": process.pid, "started": started}))
    runner.stop(folders)
    assert process.wait(5) < 0
    assert not (folders.runner / "process.json").exists()
    runner.stop(folders)


def test_jobs_ask_no_proxy_for_what_is_on_this_machine(folders: Folders) -> None:
    seen = runner.jobs_environment(folders, {"HTTPS_PROXY": "http://proxy.example.com", "no_proxy": "example.com"})
    assert seen["no_proxy"] == seen["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    assert "no_proxy" not in runner.jobs_environment(folders, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="the forge is root's, for its namespaces")
def test_runner_that_does_not_start_is_told_with_its_log(folders: Folders, tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho no such forge >&2\nexit 1\n")
    program.chmod(0o755)
    (folders.runner / "registration").write_text("{}")
    with pytest.raises(ClusterError, match="no such forge"):
        runner.start(folders, Person("forge-admin", ""), program, {})
    assert runner.running(folders) is None
