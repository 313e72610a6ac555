from collections.abc import Callable
from pathlib import Path

from pipeline.validate import digests
from pipeline.validate.renders import Rendered
from tests.unit.pipeline.validate.conftest import Edit


def test_what_is_rendered_names_images_by_digest(tree: Path, rendered: Callable[[], Rendered]) -> None:
    result = digests.check(tree, rendered().documents)
    assert result.holds, result.failures
    assert not result.counted.startswith("0 ")


def test_a_tag_instead_of_a_digest_is_refused(tree: Path, rendered: Callable[[], Rendered], edit: Edit) -> None:
    edit("k8s/base/deadline/cronjob.yaml", "image: flightline-server", "image: docker.io/library/python:3.12")
    found = rendered()
    assert found.result.holds
    (failure,) = digests.check(tree, found.documents).failures
    assert "CronJob flightline-deadline: 'docker.io/library/python:3.12' has no digest" in failure


def test_a_base_image_by_tag_is_refused(tree: Path) -> None:
    (tree / "Dockerfile").write_text(
        "ARG BASE_IMAGE=pinned\nFROM python:3.12 AS pinned\nFROM ${BASE_IMAGE} AS a\nFROM scratch\n"
    )
    (failure,) = digests.check(tree, ()).failures
    assert failure.startswith("Dockerfile: base image: 'python:3.12' has no digest")
