"""The cluster's keys: three authorities, a certificate per component and kubeconfigs. ECDSA P-256."""

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.local.components import API, API_ADDRESS, DOMAIN, NODE, NODE_ADDRESS, State

AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")
YEAR = timedelta(days=365)
NODE_USER = f"system:node:{NODE}"
AGENT_USER = "flightline-agent"
_API_NAMES = (
    *("127.0.0.1", "localhost", NODE_ADDRESS, API_ADDRESS, "kubernetes", "kubernetes.default"),
    *("kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"),
)


@dataclass(frozen=True)
class Identity:
    """Who a certificate says it is: user, groups, the names it serves under, and the authority that signs it."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    authority: str = "ca"


SERVERS = (
    Identity("etcd", "etcd", names=("127.0.0.1", "localhost"), authority="etcd-ca"),
    Identity("apiserver", "kube-apiserver", names=_API_NAMES),
    Identity("kubelet", NODE_USER, ("system:nodes",), (NODE, NODE_ADDRESS, "127.0.0.1")),
)
CLIENTS = (
    Identity("apiserver-etcd-client", "apiserver", authority="etcd-ca"),
    Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
    Identity("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
)
USERS = (
    Identity("admin", "kubernetes-super-admin", ("system:masters",)),
    Identity("controller-manager", "system:kube-controller-manager"),
    Identity("scheduler", "system:kube-scheduler"),
    Identity("proxy", "system:kube-proxy"),
    Identity("node", NODE_USER, ("system:nodes",)),
    Identity("agent", AGENT_USER),
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as text."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write(state: State) -> None:
    """Make every key, certificate and kubeconfig of a new cluster; those of an old one are left as they are."""
    if (state.certificates / "sa.pub").is_file():
        return
    authorities = {name: authority(name) for name in AUTHORITIES}
    for name, pair in authorities.items():
        _save(state, name, pair)
    for identity in (*SERVERS, *CLIENTS, *USERS):
        pair = signed(identity, authorities[identity.authority])
        _save(state, identity.file, pair)
        if identity in USERS:
            _write(path_of(state, identity), kubeconfig(identity.file, pair, authorities["ca"]))
    _write_token_keys(state.certificates)


def path_of(state: State, identity: Identity) -> Path:
    """Where a user's kubeconfig is."""
    return state.kubeconfig if identity.file == "admin" else state.kubeconfig_of(identity.file)


def authority(name: str) -> Pair:
    """A certificate authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name, ())
    builder = _builder(subject, subject, key.public_key(), key.public_key(), 10 * YEAR, is_authority=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def signed(identity: Identity, issuer: Pair) -> Pair:
    """A certificate for an identity, good for a year; one with names serves too."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(
        _subject(identity.user, identity.groups),
        issuer.certificate.subject,
        key.public_key(),
        issuer.key.public_key(),
        YEAR,
        is_authority=False,
    )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.names:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(_name, identity.names)]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Pair(builder.sign(issuer.key, hashes.SHA256()), key)


def kubeconfig(user: str, pair: Pair, issuer: Pair) -> bytes:
    """How a user reaches the API server, with everything inside."""
    cluster = {"server": API, "certificate-authority-data": _encoded(issuer.certificate_pem)}
    login = {"client-certificate-data": _encoded(pair.certificate_pem), "client-key-data": _encoded(pair.key_pem)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "flightline", "cluster": cluster}],
        "users": [{"name": user, "user": login}],
        "contexts": [{"name": "flightline", "context": {"cluster": "flightline", "user": user}}],
        "current-context": "flightline",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _write_token_keys(folder: Path) -> None:
    """The pair that signs service accounts' tokens; written last, so that it tells a whole set."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write(folder / "sa.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(folder / "sa.pub", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _save(state: State, name: str, pair: Pair) -> None:
    _write(state.certificates / f"{name}.crt", pair.certificate_pem)
    _write(state.certificates / f"{name}.key", pair.key_pem)


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    life: timedelta,
    *,
    is_authority: bool,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + life)
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (
        (x509.BasicConstraints(ca=is_authority, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
        (_usage(is_authority=is_authority), True),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(user: str, groups: tuple[str, ...]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
