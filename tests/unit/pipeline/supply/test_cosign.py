"""Which cosign is used, and whom the settings say to believe. The program on PATH is a stand-in that says a version."""

import os
import re
from pathlib import Path

import pytest

from pipeline.config import ConfigError, Settings, Signing, read_settings
from pipeline.supply.cosign import Cosign, Signer
from pipeline.tools import Workshop

PROJECT = Path(__file__).resolve().parents[4]
PINNED = Workshop().version(Workshop().find("cosign"))


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, prints: str) -> Path:
    """A cosign on PATH, and none in the cache of tools."""
    program = folder / "programs" / "cosign"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(folder / "cache"))
    return program


def test_program_of_the_pinned_version_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = put_on_path(tmp_path, monkeypatch, f'{{"gitVersion": "{PINNED}"}}')
    assert Cosign.find() == Cosign.present() == Cosign(program)


@pytest.mark.parametrize("prints", ['{"gitVersion": "v2.4.1"}', '{"gitVersion": "devel"}', "[]", "no JSON", ""])
def test_program_of_another_version_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str) -> None:
    put_on_path(tmp_path, monkeypatch, prints)
    assert Cosign.present() is None


def test_workflows_install_the_pinned_version() -> None:
    texts = [path.read_text() for path in (PROJECT / ".github").rglob("*.yml")]
    assert {one for text in texts for one in re.findall(r"cosign-release: (\S+)", text)} == {PINNED}


def test_identity_is_filled_in_from_the_settings() -> None:
    found = Signer.of(read_settings(PROJECT), PROJECT)
    assert found is not None
    assert found.name == "https://github.com/example/flightline/.github/workflows/deliver.yml@refs/heads/main"
    assert found.words[:2] == ("--certificate-identity", found.name)
    assert not any("insecure" in word for word in found.words)


@pytest.mark.parametrize(
    "signing", [{}, {"key": "a", "identity": "b", "issuer": "c"}, {"identity": "b"}, {"key": "a", "issuer": "c"}]
)
def test_signer_is_a_key_or_an_identity_with_its_issuer(tmp_path: Path, signing: dict[str, str]) -> None:
    lines = [f'{name} = "{value}"' for name, value in signing.items()]
    text = (PROJECT / "pyproject.toml").read_text().partition("[tool.flightline.signing]")[0]
    (tmp_path / "pyproject.toml").write_text("\n".join([text, "[tool.flightline.signing]", *lines, ""]))
    with pytest.raises(ConfigError, match=r"signing: .*give either key, or identity and issuer"):
        read_settings(tmp_path)


def test_template_names_a_signer() -> None:
    assert isinstance(read_settings(PROJECT).signing, Signing)
    assert Settings.model_fields["signing"].default is None
