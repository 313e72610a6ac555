"""Real images in a real registry, signed and verified by a real cosign with key pairs."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import image as images
from pipeline import oci
from pipeline.cli_supply import verify as verify_verb
from pipeline.config import ConfigError
from pipeline.delivery.models import DeliveryError
from pipeline.registry import Registry
from pipeline.supply import provenance, sbom
from pipeline.supply.cosign import KEY, Cosign, Signer
from pipeline.supply.signing import sign, verify
from tests import supply
from tests.keys import done
from tests.supply import Keys, Shop

KEYLESS = {"identity": "{repository}/deliver.yml@refs/heads/{branch}", "issuer": "https://issuer.example.com"}


def silent(_: str) -> None:
    """Nobody reads it."""


def signer(shop: Shop) -> Signer:
    found = Signer.of(shop.context.settings, shop.root)
    assert found is not None
    return found


def attested(shop: Shop, cosign: Cosign, **changes: Any) -> None:
    """Sign, with statements that say something else than they should."""
    image = images.inspect(shop.image)
    digest, bundle, source = (changes.get(name) for name in ("digest", "bundle", "source"))
    document = {"metadata": {"component": {"version": digest or image.digest}}}
    depends = [
        {"name": "source", "digest": {"gitCommit": source or shop.git("rev-parse", "HEAD")}},
        {"name": "bundle", "digest": {"sha256": bundle or image.bundle}},
    ]
    definition = {"buildType": "x", "externalParameters": {}, "resolvedDependencies": depends}
    predicate = {"buildDefinition": definition, "runDetails": {"builder": {"id": "x"}}}
    cosign.attest(shop.image, signer(shop), sbom.TYPE, document)
    cosign.attest(shop.image, signer(shop), provenance.TYPE, predicate)
    cosign.sign(shop.image, signer(shop))


def test_signed_image_verifies_and_names_its_commit(shop: Shop) -> None:
    signed = sign(shop.context, shop.image, silent)
    assert signed.made == ("cyclonedx", "slsaprovenance1", "signature")
    found = verify(shop.context, shop.image, "HEAD")
    assert found.holds, found.faults
    assert found.sources == (shop.git("rev-parse", "HEAD"),)


def test_signing_runs_nothing_of_the_model(shop: Shop) -> None:
    """It is done beside the key."""
    assert "signature" in done(shop.root, "sign", shop.image)


def test_signing_again_changes_nothing(shop: Shop) -> None:
    sign(shop.context, shop.image, silent)
    assert shop.attached() == 3
    assert sign(shop.context, shop.image, silent).made == ()
    assert shop.attached() == 3


def test_signing_goes_on_where_an_earlier_run_was_stopped(shop: Shop, cosign: Cosign) -> None:
    cosign.sign(shop.image, signer(shop))
    assert sign(shop.context, shop.image, silent).made == ("cyclonedx", "slsaprovenance1")
    assert verify(shop.context, shop.image).holds


def test_another_commit_of_the_same_image_adds_its_provenance_alone(shop: Shop) -> None:
    first = shop.git("rev-parse", "HEAD")
    sign(shop.context, shop.image, silent)
    second = shop.commit("manifests only")
    assert sign(shop.context, shop.image, silent).made == ("slsaprovenance1",)
    assert all(verify(shop.context, shop.image, one).holds for one in (first, second))


def test_unsigned_image_is_called_so(shop: Shop) -> None:
    (fault,) = verify(shop.context, shop.image).faults
    assert fault.startswith("unsigned: ")


def test_image_signed_with_another_key_is_refused(shop: Shop, keys: Keys) -> None:
    sign(shop.context, shop.image, silent)
    (shop.root / "cosign.pub").write_text(keys.public("theirs"))
    (fault,) = verify(shop.context, shop.image).faults
    assert fault.startswith("wrong key: not signed by cosign.pub")


def test_stranger_who_signs_too_changes_nothing(
    shop: Shop, keys: Keys, cosign: Cosign, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(shop.context, shop.image, silent)
    supply.as_signer(monkeypatch, keys, "theirs")
    cosign.sign(shop.image, signer(shop))
    assert verify(shop.context, shop.image).holds


def test_missing_attestations_are_named(shop: Shop, cosign: Cosign) -> None:
    cosign.sign(shop.image, signer(shop))
    faults = verify(shop.context, shop.image).faults
    assert faults == (
        "attestation missing: no SBOM (cyclonedx)",
        "attestation missing: no provenance (slsaprovenance1)",
    )


def test_attestations_are_no_signature(shop: Shop, cosign: Cosign) -> None:
    """`cosign verify` alone takes any attestation of the right key for a signature."""
    cosign.attest(shop.image, signer(shop), sbom.TYPE, {})
    assert verify(shop.context, shop.image).faults[0].startswith("unsigned: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"digest": f"sha256:{'1' * 64}"}, f"SBOM: names digest sha256:{'1' * 64}"),
        ({"bundle": "2" * 64}, f"provenance: names bundle {'2' * 64}"),
        ({"source": "3" * 40}, f"provenance: names commit {'3' * 40}"),
    ],
)
def test_statement_about_something_else_is_named(
    shop: Shop, cosign: Cosign, changes: dict[str, str], expected: str
) -> None:
    attested(shop, cosign, **changes)
    (fault,) = verify(shop.context, shop.image, "HEAD").faults
    assert fault.startswith(expected)


def test_signature_of_another_image_does_not_count(shop: Shop, tmp_path: Path) -> None:
    sign(shop.context, shop.image, silent)
    other = Shop(shop.root, shop.registry, supply.push(tmp_path, shop.root, shop.registry, {"app/other": b""}))
    transplant(shop, other)
    assert other.attached() == 3
    (fault,) = verify(shop.context, other.image).faults
    assert fault.startswith("wrong key: ")
    assert "digest" in fault


def transplant(origin: Shop, target: Shop) -> None:
    """Hang everything that was attached to one image on another, as whoever may write to the registry could."""
    host, _, name = origin.registry.partition("/")
    store, subject = Registry(host, name), Registry(host, name).manifest(target.digest).descriptor
    entries = []
    for one in json.loads(store.manifest(origin.digest.replace(":", "-")).data)["manifests"]:
        manifest = {**json.loads(store.manifest(one["digest"]).data), "subject": subject.document()}
        made = oci.encoded(manifest, oci.MANIFEST)
        store.publish(made, "")
        entries.append({**one, **made.descriptor.document()})
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
    store.publish(oci.encoded(index, oci.INDEX), target.digest.replace(":", "-"))


@pytest.mark.parametrize(
    ("whose", "expected"), [("", f"{KEY} is not set"), ("theirs", f"{KEY} is not the private half of cosign.pub")]
)
def test_nothing_is_pushed_without_the_right_key(
    shop: Shop, keys: Keys, monkeypatch: pytest.MonkeyPatch, whose: str, expected: str
) -> None:
    monkeypatch.setenv(KEY, keys.private(whose) if whose else "")
    with pytest.raises(ConfigError, match=expected):
        sign(shop.context, shop.image, silent)
    assert shop.attached() == 0


def test_key_whose_password_is_wrong_is_named_and_not_shown(
    shop: Shop, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "another")
    with pytest.raises(ConfigError, match=f"{KEY} cannot be read") as raised:
        sign(shop.context, shop.image, silent)
    assert keys.private("ours")[40:80] not in str(raised.value)


def test_workflow_without_a_right_to_an_identity_is_told_which(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.settle(KEYLESS)
    monkeypatch.delenv(KEY)
    for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="id-token: write"):
        sign(shop.context, shop.image, silent)


def test_key_where_the_settings_name_a_workflow_is_refused(shop: Shop) -> None:
    shop.settle(KEYLESS)
    with pytest.raises(ConfigError, match=r"pyproject\.toml names a workflow"):
        sign(shop.context, shop.image, silent)


def test_without_a_signer_nothing_is_signed_and_nothing_verified(shop: Shop) -> None:
    shop.settle({})
    signed = sign(shop.context, shop.image, silent)
    assert (signed.made, shop.attached()) == ((), 0)
    assert signed.sentence.startswith("not signed: ")
    with pytest.raises(ConfigError, match="names no signer"):
        verify(shop.context, shop.image)


def test_public_key_that_is_not_there_is_named(shop: Shop) -> None:
    shop.settle({"key": "keys/cosign.pub"})
    with pytest.raises(ConfigError, match=r"signing.key: keys/cosign.pub is not there"):
        verify(shop.context, shop.image)


def test_image_of_other_sources_is_not_signed(shop: Shop) -> None:
    (shop.root / "Dockerfile").write_text("FROM scratch\n")
    shop.commit("other code")
    with pytest.raises(DeliveryError, match="its code was made of inputs"):
        sign(shop.context, shop.image, silent)
    assert shop.attached() == 0


def test_sources_that_are_not_committed_change_nothing(shop: Shop) -> None:
    (shop.root / "Dockerfile").write_text("FROM scratch\n")
    assert sign(shop.context, shop.image, silent).made


def test_image_of_another_bundle_is_not_signed(shop: Shop) -> None:
    (shop.root / "dvc.lock").write_text((shop.root / "dvc.lock").read_text().replace("md5: ", "md5: 0"))
    shop.commit("another bundle")
    with pytest.raises(DeliveryError, match=r"which dvc.lock at \w+ does not name"):
        sign(shop.context, shop.image, silent)


def test_earlier_commit_can_be_named(shop: Shop) -> None:
    source = shop.git("rev-parse", "HEAD")
    (shop.root / "Dockerfile").write_text("FROM scratch\n")
    shop.commit("other code")
    sign(shop.context, shop.image, silent, source)
    assert verify(shop.context, shop.image).sources == (source,)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({"app/lib/click-8.5.1.dist-info/METADATA": b"Name: click\nVersion: 8.5.0\n"}, "click: the image has 8.5.0"),
        ({"app/lib/evil-1.dist-info/METADATA": b"Name: evil\nVersion: 1\n"}, "evil: the image has 1"),
        ({"app/lib/uvloop-1.dist-info/METADATA": b"Name: uvloop\nVersion: 1\n"}, "uvloop: the image has 1"),
    ],
)
def test_image_whose_packages_are_not_the_locked_ones_is_not_signed(
    shop: Shop, tmp_path: Path, inside: dict[str, bytes], expected: str
) -> None:
    reference = supply.push(tmp_path, shop.root, shop.registry, {**supply.INSIDE, **inside})
    with pytest.raises(DeliveryError, match=expected):
        sign(shop.context, reference, silent)


@pytest.mark.parametrize("reference", ["{registry}:latest", "registry.example.com/other@sha256:" + "0" * 64])
def test_only_a_digest_of_our_registry_is_signed(shop: Shop, reference: str) -> None:
    with pytest.raises(DeliveryError):
        sign(shop.context, reference.format(registry=shop.registry), silent)


def test_verb_fails_where_something_does_not_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop.root)
    assert verify_verb(shop.image) == 1
    assert "unsigned: " in capsys.readouterr().out
    sign(shop.context, shop.image, silent)
    assert verify_verb(shop.image, source="HEAD") == 0
