from pathlib import Path

from pipeline.validate import releases
from tests.deliveries import fork


def test_a_release_as_its_source_renders_it_is_accepted_and_one_changed_by_hand_is_refused(tmp_path: Path) -> None:
    made = fork(tmp_path)
    made.released(0.0)
    assert releases.check(made.context) == releases.Result("releases", "1 release in 2 environments")

    manifests = made.root / "k8s/releases/staging/manifests.yaml"
    manifests.write_text(manifests.read_text().replace("name: server", "name: sever"))
    (failure,) = releases.check(made.context).failures
    assert failure.startswith("k8s/releases/staging")
    assert "name: sever" in failure
