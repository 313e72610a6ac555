"""cosign, the program: signatures and attestations beside an image, in its registry (https://docs.sigstore.dev/cosign).

One of the pinned version on PATH is used (sigstore/cosign-installer puts one there); else it is built from source.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ConfigError, Settings
from pipeline.errors import UnavailableError
from pipeline.text import plain
from pipeline.tools import Say, Workshop, tool

KEY, KEY_PASSWORD = "COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD"
# What a keyless signer must have one of: GitHub's promise of an identity token, or such a token.
IDENTITY = ("ACTIONS_ID_TOKEN_REQUEST_URL", "SIGSTORE_ID_TOKEN")
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
TYPES = {"cyclonedx": "https://cyclonedx.org/bom", "slsaprovenance1": "https://slsa.dev/provenance/v1"}
SECONDS = 180
_UNSIGNED, _FOREIGN = 10, "no matching attestations"


class UnsignedError(Exception):
    """Nobody signed the image."""


class ForeignError(Exception):
    """The image is signed, but not by the signer that was asked for; the message is cosign's."""


@dataclass(frozen=True)
class Signer:
    """Whom to believe: a public key's file, or a workflow's identity and who vouches for it. `words` are for cosign."""

    name: str
    words: tuple[str, ...]
    key: Path | None = None

    @classmethod
    def of(cls, settings: Settings, root: Path) -> "Signer | None":
        """The one of `[tool.flightline.signing]`; None where there is none. Raises ConfigError."""
        signing = settings.signing
        if signing is None:
            return None
        if signing.identity:
            return _keyless(settings, signing.identity, signing.issuer)
        if not (path := root / signing.key).is_file():
            raise ConfigError(f"signing.key: {signing.key} is not there; put the public key there, as cosign writes it")
        return cls(signing.key, ("--key", str(path), "--insecure-ignore-tlog=true"), path)


def identity_of(settings: Settings, identity: str) -> str:
    """An identity with the repository and the branch of the settings filled in."""
    for name in ("repository", "branch"):
        identity = identity.replace(f"{{{name}}}", getattr(settings, name))
    return identity


def _keyless(settings: Settings, identity: str, issuer: str) -> Signer:
    identity = identity_of(settings, identity)
    return Signer(identity, ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer))


@dataclass(frozen=True)
class Statement:
    """An attestation whose signature holds: the digests that it is about and what it says."""

    subjects: tuple[str, ...]
    predicate: Mapping[str, Any]


@dataclass(frozen=True)
class Cosign:
    """The program; where it is."""

    program: Path

    @classmethod
    def find(cls, say: Say | None = None) -> "Cosign":
        """On PATH, or built now where it is not there yet. Raises UnavailableError."""
        return cls(_on_path() or tool("cosign", say))

    @classmethod
    def present(cls) -> "Cosign | None":
        """On PATH or built earlier; None where neither."""
        if found := _on_path():
            return cls(found)
        workshop = Workshop()
        try:
            folder = workshop.folder(workshop.find("cosign"))
        except UnavailableError:
            return None
        return cls(folder / "cosign") if folder.is_dir() else None

    def signed(self, reference: str, signer: Signer) -> frozenset[str]:
        """The types of all statements about an image that the signer signed; SIGNATURE is the plain one.

        Raises UnsignedError, ForeignError, UnavailableError.
        """
        answer = self._checked("verify", *signer.words, reference)
        return frozenset(str(one["critical"]["type"]) for one in json.loads(answer))

    def statements(self, reference: str, signer: Signer, kind: str) -> tuple[Statement, ...]:
        """What the signer attested of an image under a name of TYPES. Raises as `signed` does."""
        answer = self._checked("verify-attestation", "--type", kind, *signer.words, reference)
        return tuple(_statement(line) for line in answer.splitlines() if line.strip())

    def sign(self, reference: str, signer: Signer) -> None:
        """Sign an image by digest. Raises UnavailableError."""
        self._run("sign", *_signing(signer), reference)

    def attest(self, reference: str, signer: Signer, kind: str, predicate: Mapping[str, Any]) -> None:
        """Sign a predicate about an image. Raises UnavailableError."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "predicate.json"
            path.write_text(json.dumps(predicate, sort_keys=True))
            self._run("attest", *_signing(signer), "--type", kind, "--predicate", str(path), reference)

    def check_key(self, signer: Signer) -> None:
        """Raise ConfigError unless this environment can sign as that signer."""
        if signer.key is None:
            _check_identity()
            return
        if not os.environ.get(KEY):
            raise ConfigError(f"{KEY} is not set, and images are signed with the private half of {signer.name}")
        done = self._call("public-key", "--key", f"env://{KEY}")
        if done.returncode:
            raise ConfigError(f"{KEY} cannot be read: {_said(done)}; is {KEY_PASSWORD} its password?")
        if done.stdout.split() != signer.key.read_text().split():
            raise ConfigError(f"{KEY} is not the private half of {signer.name} (`signing.key` in pyproject.toml)")

    def _checked(self, *words: str) -> str:
        done = self._call(*words)
        if done.returncode == _UNSIGNED:
            raise UnsignedError
        if done.returncode and _FOREIGN in done.stderr:
            raise ForeignError(_said(done))
        return self._answer(words[0], done)

    def _run(self, *words: str) -> str:
        return self._answer(words[0], self._call(*words))

    def _answer(self, verb: str, done: subprocess.CompletedProcess[str]) -> str:
        if done.returncode:
            raise UnavailableError(f"`cosign {verb}` failed: {_said(done)}")
        return done.stdout

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Without a terminal it asks nothing: an empty input is the password of a key that has none."""
        try:
            return subprocess.run(
                [str(self.program), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"`cosign {words[0]}` gave no answer in {SECONDS} s; try again") from error


def _check_identity() -> None:
    if os.environ.get(KEY):
        raise ConfigError(f"{KEY} is set, but pyproject.toml names a workflow as the signer; set `signing.key` instead")
    if not any(os.environ.get(name) for name in IDENTITY):
        raise ConfigError(
            "nothing here proves who signs: on GitHub give the job `id-token: write`, elsewhere set `signing.key` in "
            f"pyproject.toml and {KEY}"
        )


def _signing(signer: Signer) -> tuple[str, ...]:
    """A key's signatures go into no public log: they are checked against the key that is in the repository."""
    own = ("--key", f"env://{KEY}", "--use-signing-config=false", "--tlog-upload=false")
    return (*(own if signer.key else ()), "--yes")


def _on_path() -> Path | None:
    """One of the pinned version: an older one writes signatures that this one does not look for."""
    found = shutil.which("cosign")
    if found is None:
        return None
    done = subprocess.run([found, "version", "--json"], capture_output=True, text=True, check=False)
    try:
        version = json.loads(done.stdout)["gitVersion"]
    except (ValueError, KeyError, TypeError):
        return None
    workshop = Workshop()
    return Path(found) if version == workshop.version(workshop.find("cosign")) else None


def _statement(line: str) -> Statement:
    """A line of `verify-attestation`: a DSSE envelope around an in-toto statement."""
    body = json.loads(base64.b64decode(json.loads(line)["payload"]))
    digests = tuple(f"{kind}:{value}" for one in body["subject"] for kind, value in one["digest"].items())
    return Statement(digests, body["predicate"])


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The reason that cosign gives; it repeats every line."""
    reasons = [line.removeprefix("Error: ") for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return plain((reasons or [done.stderr.strip() or f"exit code {done.returncode}"])[0])
