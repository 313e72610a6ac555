"""The cluster's keys: who signs whom, under which names, and who may read them."""

import stat

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from infra.local import certificates, kubernetes
from infra.local.certificates import CLIENTS, SERVERS, USERS, Identity, authority, signed
from infra.local.components import State


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    made = State(tmp_path_factory.mktemp("cluster"))
    certificates.write(made)
    return made


def read(state: State, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((state.certificates / f"{name}.crt").read_bytes())


@pytest.mark.parametrize("identity", [*SERVERS, *CLIENTS, *USERS], ids=lambda one: one.file)
def test_each_is_signed_by_its_own_authority(state: State, identity: Identity) -> None:
    read(state, identity.file).verify_directly_issued_by(read(state, identity.authority))


def test_etcd_trusts_nobody_that_the_api_server_trusts(state: State) -> None:
    with pytest.raises(ValueError, match=r"[Ii]ssuer"):
        read(state, "admin").verify_directly_issued_by(read(state, "etcd-ca"))


def test_user_and_groups_are_what_kubernetes_reads() -> None:
    subject = signed(Identity("f", "jane", ("readers", "writers")), authority("a")).certificate.subject
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["jane"]
    assert {one.value for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)} == {"readers", "writers"}


def test_the_api_server_answers_to_the_name_that_pods_use(state: State) -> None:
    names = read(state, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert "10.96.0.1" in map(str, names.get_values_for_type(x509.IPAddress))


def test_only_the_owner_may_read_them(state: State) -> None:
    for path in (state.kubeconfig, *state.certificates.iterdir(), *state.config.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_restart_keeps_them(state: State) -> None:
    before = read(state, "ca")
    certificates.write(state)
    assert read(state, "ca") == before


def test_every_file_that_a_component_is_told_of_is_there(state: State) -> None:
    """A flag names a file by its path: a misspelt one would show only at the start of a cluster."""
    texts = [word for one in kubernetes.components(state) for word in one.command]
    texts += kubernetes.configuration(state).values()
    for text in texts:
        for word in text.replace("=", " ").split():
            if word.startswith(str(state.root)) and word.endswith((".crt", ".key", ".pub", ".kubeconfig")):
                assert word in {str(path) for path in state.root.rglob("*")}


def test_a_kubeconfig_says_where_and_who(state: State) -> None:
    document = yaml.safe_load(state.kubeconfig.read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert document["users"][0]["name"] == "admin"
