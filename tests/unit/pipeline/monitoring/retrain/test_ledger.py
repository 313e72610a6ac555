"""Attempts are kept by compare-and-swap: of two at once one wins, and the other sees what it wrote."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import reports
from pipeline.delivery.git import Repository
from pipeline.frames import TableError
from pipeline.monitoring.retrain import ledger
from pipeline.monitoring.retrain.attempts import Attempt
from pipeline.monitoring.retrain.ledger import Branch, Folder, Ledger
from tests.deliveries import begun
from tests.retrainings import NOW, attempt


@pytest.fixture(params=["branch", "folder"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "folder":
        return Folder(tmp_path / "kept")
    return Branch(Repository(begun(tmp_path).root, "main", "flightline"))


def claim(kept: Ledger, one: Attempt) -> bool:
    """Write it, if nobody has."""
    return kept.amend(one.key, lambda there: None if there else one, {"observation.json": b"{}"})


def test_attempt_comes_back_as_it_was_written_with_its_files(kept: Ledger) -> None:
    assert kept.attempts() == ()
    assert claim(kept, attempt())
    assert kept.attempts() == (attempt(),)
    assert kept.files(attempt().key)["observation.json"] == b"{}"


def test_later_files_come_beside_earlier_ones(kept: Ledger) -> None:
    claim(kept, attempt())
    done = attempt().after("advance")
    assert kept.amend(done.key, lambda _: done, {"plots/a.png": b"\x89"})
    assert sorted(kept.files(done.key)) == ["attempt.json", "observation.json", "plots/a.png"]
    assert kept.attempts() == (done,)


def test_of_many_who_claim_at_once_one_wins(kept: Ledger) -> None:
    holders = [attempt(holder=f"run {number}") for number in range(4)]
    with ThreadPoolExecutor(len(holders)) as pool:
        won = list(pool.map(lambda one: claim(kept, one), holders))
    assert sum(won) == 1
    (there,) = kept.attempts()
    assert there.holder == holders[won.index(True)].holder


def test_attempts_are_listed_in_the_order_they_began(kept: Ledger) -> None:
    from datetime import timedelta

    later, earlier = attempt(), attempt(began=NOW - timedelta(days=9), version="d" * 64)
    claim(kept, later)
    claim(kept, earlier)
    assert kept.attempts() == (earlier, later)


def test_attempt_that_cannot_be_read_is_named(kept: Ledger) -> None:
    claim(kept, attempt())
    if isinstance(kept, Folder):
        (kept.root / attempt().key / "attempt.json").write_text("{}")
    else:
        reports.publish(kept.repository, ledger.place(attempt().key), {"attempt.json": b"{}"})
    with pytest.raises(TableError, match=attempt().key):
        kept.attempts()


def test_attempts_and_reports_of_commits_share_the_branch(tmp_path: Path) -> None:
    repository = Repository(begun(tmp_path).root, "main", "flightline")
    claim(Branch(repository), attempt())
    reports.publish(repository, "commits/abc", {"report.md": b"hello"})
    assert Branch(repository).attempts() == (attempt(),)
    assert reports.read(repository, "commits/abc/report.md") == b"hello"
