"""The exit codes of docs/cli.md, and that every refusal is a sentence."""

import os
import socket
import subprocess

import pytest

from tests.checkouts import Checkout

pytestmark = pytest.mark.flights


@pytest.mark.parametrize(
    "command",
    [["bogus"], ["gate", "--bogus"], [], ["gate", "speed"], ["image", "bogus"]],
    ids=["unknown verb", "unknown option", "nothing", "unknown gate", "unknown verb of image"],
)
def test_wrong_usage_exits_64(copy: Checkout, command: list[str]) -> None:
    done = copy.run("flightline", *command, check=False)
    assert done.returncode == 64
    assert "Traceback" not in done.stderr


def test_broken_configuration_exits_64_and_names_the_field(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["gates"]["load"].update(users="many"))
    done = copy.run("flightline", "gate", "data", check=False)
    assert done.returncode == 64
    assert "gates.load.users" in done.stderr


def test_estimator_that_is_not_known_exits_64_and_names_the_field(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"].update(name="oracle"))
    done = copy.run("flightline", "train", check=False)
    assert done.returncode == 64
    assert "estimator.name" in done.stderr
    assert "oracle" in done.stderr


def test_slo_that_is_not_yaml_exits_64(copy: Checkout) -> None:
    (copy.root / "k8s/base/slo.yaml").write_text("data: [")
    done = copy.run("flightline", "gate", "load", check=False)
    assert done.returncode == 64
    assert "slo.yaml" in done.stderr


def test_bundle_that_is_not_there_exits_65(copy: Checkout) -> None:
    copy.run("rm", "-rf", "build/bundle")
    done = copy.run("flightline", "gate", "data", check=False)
    assert done.returncode == 65
    assert "dvc repro" in done.stderr


def test_candidate_made_with_other_parameters_is_not_judged(copy: Checkout) -> None:
    copy.edit_params(lambda params: params["estimator"].update(name="boosted"))
    done = copy.run("flightline", "gate", "data", check=False)
    assert done.returncode == 65
    assert "made from other parameters" in done.stderr


def test_image_that_names_nothing_exits_69(reproduced: Checkout) -> None:
    done = reproduced.run("flightline", "image", "inspect", "nowhere", check=False)
    assert done.returncode == 69
    assert "nowhere" in done.stderr


def test_port_that_is_taken_exits_69_before_any_work(copy: Checkout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = copy.run("flightline", "run", check=False, PORT=port)
    assert done.returncode == 69
    assert port in done.stderr
    assert "dvc repro" not in done.stderr


def test_port_that_is_no_number_exits_64(copy: Checkout) -> None:
    assert copy.run("flightline", "serve", check=False, PORT="http").returncode == 64


def test_dvc_finds_the_stages_without_an_activated_environment(copy: Checkout) -> None:
    """`.venv/bin/flightline run` by its path, with nothing of the environment on PATH."""
    copy.edit_params(lambda params: params["data"].update(end="2013-03-30"))
    command = copy.run("which", "flightline").stdout.strip()
    bare = {**copy.environment, "PATH": "/usr/bin:/bin", "PORT": "1"}
    code = "import sys; from pathlib import Path; from pipeline.run import reproduce; reproduce(Path.cwd())"
    python = os.path.join(os.path.dirname(command), "python")  # noqa: PTH118, PTH120
    done = subprocess.run([python, "-c", code], cwd=copy.root, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
