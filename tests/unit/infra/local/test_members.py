from pathlib import Path

from infra.local import gitea, members
from infra.local.gitea import Folders
from infra.local.members import BOT, CLUSTER, PEOPLE, Credentials, KeyPair


def made() -> Credentials:
    pair = KeyPair(public="public", private="private", password="secret")  # noqa: S106 - of nothing
    passwords = {name: f"of {name}" for name in (gitea.ADMIN, *PEOPLE)}
    return Credentials(server={"secret": "1"}, passwords=passwords, store="2", signing=pair, tokens={BOT: "3"})


def test_credentials_are_read_back_and_only_by_their_owner(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert members.read(folders) is None
    members.write(folders, made())
    assert members.read(folders) == made()
    assert folders.credentials.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [folders.credentials.name]


def test_everybody_is_known_by_name_and_password() -> None:
    assert made().person(gitea.ADMIN).password == f"of {gitea.ADMIN}"


def test_cluster_has_the_least_that_starts_a_workflow() -> None:
    assert members.SCOPES[CLUSTER] == ("write:repository",)
    assert [unit for unit, right in members.CLUSTER_UNITS.items() if right != "read"] == ["repo.actions"]
    assert CLUSTER not in members.WRITERS
