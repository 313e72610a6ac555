"""Where the settings name a signer, only what it signed is released: real git, a real registry, a real cosign."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import image as images
from pipeline.delivery.checks import check_change
from pipeline.delivery.history import RELEASE
from pipeline.delivery.models import Code, DeliveryError, read_release
from pipeline.delivery.proofs import Proofs
from pipeline.supply import provenance, sbom
from pipeline.supply.cosign import Signer
from tests import deliveries, supply
from tests.deliveries import BRANCH, Fork, expect
from tests.images import registry
from tests.integration.test_forgeries import forged, proved, pushed, registry_of, said


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> supply.Keys:
    supply.cosign()
    return supply.make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory, keys: supply.Keys) -> Iterator[Path]:
    """A fork with a key and a bundle, whose image is in a registry, signed by nobody."""
    where = tmp_path_factory.mktemp("began")
    with registry(where) as host:
        made = deliveries.fork(where)
        settings = (made.root / "pyproject.toml").read_text().replace(deliveries.REGISTRY, f"{host}/flightline")
        signing = '[tool.flightline.signing]\nkey = "cosign.pub"\n'
        made.commit("a signer", {"pyproject.toml": settings + signing, "cosign.pub": keys.public("ours")})
        yield where


@pytest.fixture
def made(began: Path, tmp_path: Path, keys: supply.Keys, monkeypatch: pytest.MonkeyPatch) -> Fork:
    supply.as_signer(monkeypatch, keys)
    return deliveries.copied(began, tmp_path / "copy")


def image(made: Fork, bias: float) -> str:
    """Train, and push the image."""
    made.train(bias)
    return pushed(made, registry_of(made).partition("/")[0])


def signed(made: Fork, reference: str, source: str = "") -> None:
    """What `flightline sign` says of an image, of toys that have no packages to be compared."""
    signer, found, cosign = Signer.of(made.context.settings, made.root), images.inspect(reference), supply.cosign()
    assert signer is not None
    depends = [
        {"name": "source", "digest": {"gitCommit": source or made.git("rev-parse", "HEAD")}},
        {"name": "bundle", "digest": {"sha256": found.bundle}},
    ]
    definition = {"buildType": "x", "externalParameters": {}, "resolvedDependencies": depends}
    predicate = {"buildDefinition": definition, "runDetails": {"builder": {"id": "x"}}}
    cosign.attest(reference, signer, sbom.TYPE, {"metadata": {"component": {"version": found.digest}}})
    cosign.attest(reference, signer, provenance.TYPE, predicate)
    cosign.sign(reference, signer)


def test_image_that_nobody_signed_is_not_released_until_it_is(made: Fork) -> None:
    reference = image(made, 1.0)
    before = made.git("ls-remote", "origin")
    with pytest.raises(DeliveryError, match="unsigned"):
        made.release(reference=reference)
    assert made.git("ls-remote", "origin") == before
    signed(made, reference)
    assert made.release(reference=reference).outcome == "pushed"


def test_image_that_was_signed_for_another_commit_is_not_released(made: Fork) -> None:
    reference = image(made, 2.0)
    signed(made, reference, "c" * 40)
    with pytest.raises(DeliveryError, match="names commit cccc"):
        made.release(reference=reference)


def test_signer_that_only_the_work_tree_leaves_out_is_asked_for(made: Fork) -> None:
    reference = image(made, 3.0)
    path = made.root / "pyproject.toml"
    path.write_text(path.read_text().partition("[tool.flightline.signing]")[0])
    with pytest.raises(DeliveryError, match="unsigned"):
        made.release(reference=reference)


def test_branch_that_releases_an_unsigned_image_is_refused(made: Fork) -> None:
    """Bundle, code, figures and manifests are as they should be: only the signature can tell."""
    reference = image(made, 4.0)
    signed(made, reference)
    commit = str(made.release(BRANCH, reference).commit)
    assert proved(made, made.repository.fetch(), commit) == ""
    release = read_release(made.files(commit=commit)[RELEASE], RELEASE)
    other = images.inspect(again(made))
    code = Code(image=other.code, inputs=release.code.inputs)
    claims = {"image": f"{registry_of(made)}@{other.digest}", "code": code}
    assert "unsigned" in proved(made, *forged(made, "staging", commit, **claims))


def test_branch_is_checked_against_whom_main_believes_now(made: Fork, keys: supply.Keys) -> None:
    reference = image(made, 5.0)
    signed(made, reference)
    commit = str(made.release(BRANCH, reference).commit)
    base = made.commit("another key, for the first was stolen", {"cosign.pub": keys.public("theirs")})
    assert "wrong key" in said(check_change(made.context, base, commit, Proofs(made.root, expect)))


def again(made: Fork) -> str:
    """The same bundle on a code image of the same sources, built once more: another digest."""
    return pushed(made, registry_of(made).partition("/")[0], another="build")
