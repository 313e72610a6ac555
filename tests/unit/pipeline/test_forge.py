from collections.abc import Iterator

import pytest

from pipeline.config import ConfigError, Settings
from pipeline.errors import UNAVAILABLE, explain
from pipeline.forge import Forge, ForgeError, http
from tests import forges
from tests.forges import REPOSITORY, Fault, Played

MARKER = "<!-- flightline: report -->"
LOST = [Fault(502, "POST", carried_out=True), Fault(200, "POST", carried_out=True, seconds=0.6)]
SETTINGS = {
    "name": "model",
    "title": "Model",
    "branch": "main",
    "owners": (),
    "registry": "r",
    "environments": (),
    "trusted_remote": "t",
    "work_remote": "w",
    "security_contact": "s",
}


def settings(repository: str) -> Settings:
    return Settings.model_validate({**SETTINGS, "repository": repository})


@pytest.fixture
def world() -> Iterator[tuple[Forge, Played, list[float]]]:
    with forges.played() as made:
        yield made


@pytest.fixture
def forge(world: tuple[Forge, Played, list[float]]) -> Forge:
    return world[0]


@pytest.fixture
def played(world: tuple[Forge, Played, list[float]]) -> Played:
    return world[1]


@pytest.fixture
def slept(world: tuple[Forge, Played, list[float]]) -> list[float]:
    return world[2]


# Which forge, which repository, whose token.


@pytest.mark.parametrize(
    ("repository", "api", "web"),
    [
        ("https://github.com/acme/model", "https://api.github.com", "https://github.com/acme/model"),
        ("https://github.com/acme/model.git", "https://api.github.com", "https://github.com/acme/model"),
        ("https://git.example/acme/model", "https://git.example/api/v1", "https://git.example/acme/model"),
        ("http://127.0.0.1:3001/acme/model.git/", "http://127.0.0.1:3001/api/v1", "http://127.0.0.1:3001/acme/model"),
    ],
)
def test_forge_is_that_of_the_settings(repository: str, api: str, web: str) -> None:
    found = Forge.of(settings(repository), {"FLIGHTLINE_TOKEN": "one"})
    assert (found.client.api, found.repository, found.web_url()) == (api, "acme/model", web)


def test_environment_of_a_workflow_goes_before_the_settings() -> None:
    told = {"GITHUB_API_URL": "https://ghe.example/api/v3", "GITHUB_REPOSITORY": "other/fork", "GITHUB_TOKEN": "two"}
    found = Forge.of(settings("https://github.com/acme/model"), told)
    assert (found.repository, found.client.token) == ("other/fork", "two")
    assert found.web_url() == "https://ghe.example/other/fork"
    assert Forge.of(settings("https://github.com/a/b"), {**told, "FLIGHTLINE_TOKEN": "own"}).client.token == "own"  # noqa: S105 - a made-up one


@pytest.mark.parametrize("told", [{}, {"FLIGHTLINE_TOKEN": "", "GITHUB_TOKEN": ""}])
def test_missing_token_is_named(told: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="FLIGHTLINE_TOKEN is not set"):
        Forge.of(settings("https://github.com/acme/model"), told)


@pytest.mark.parametrize(
    ("told", "named"),
    [({"GITHUB_REPOSITORY": "model"}, "GITHUB_REPOSITORY"), ({"GITHUB_API_URL": "api.github.com"}, "GITHUB_API_URL")],
)
def test_address_that_no_forge_has_is_named(told: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Forge.of(settings("https://github.com/acme/model"), {"FLIGHTLINE_TOKEN": "one", **told})


def test_raw_files_are_where_each_forge_has_them(forge: Forge) -> None:
    github = Forge.of(settings("https://github.com/acme/model"), {"FLIGHTLINE_TOKEN": "one"})
    assert github.raw_url("reports", "a/b c.png") == "https://github.com/acme/model/raw/reports/a/b%20c.png"
    assert forge.raw_url("reports", "a.png") == f"{forge.web_url()}/raw/branch/reports/a.png"


def test_token_goes_in_the_header_alone(forge: Forge, played: Played) -> None:
    forge.pulls()
    assert "secret" not in repr(forge)
    assert played.asked[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in str(played.asked[0].query)


# Pull requests.


def test_pull_request_of_gitea_and_of_github_read_alike(forge: Forge, played: Played) -> None:
    deleted = {"ref": "refs/pull/1/head", "label": "gone", "sha": "c" * 40, "repo": None}
    played.add_pull("gone", head=deleted, merged_at="2026-01-01T00:00:00Z", state="closed", user=None, body=None)
    found = forge.pull(1)
    assert (found.head_branch, found.head_repository, found.merged) == ("gone", "", True)
    assert (found.author, found.body) == ("", "")


def test_pull_requests_of_a_branch_leave_out_a_forks_branch_of_that_name(forge: Forge, played: Played) -> None:
    played.add_pull("topic")
    played.add_pull("topic", repository="stranger/model")
    played.add_pull("other")
    assert [one.number for one in forge.pulls(head="topic")] == [1]
    assert len(forge.pulls()) == 3


def test_every_page_is_read(forge: Forge, played: Played) -> None:
    played.page = 2
    for number in range(5):
        played.add_pull(f"topic-{number}")
    assert len(forge.pulls()) == 5
    assert [one.query["page"] for one in played.said("GET", "/pulls")] == ["1", "2", "3"]


COMMENT, CODE, RETARGETED = "comment", "code", "change_target_branch"


@pytest.mark.parametrize(
    ("types", "moved"),
    [
        ([COMMENT, RETARGETED], True),
        ([*[COMMENT] * 50, RETARGETED], True),
        ([*[COMMENT] * 120, RETARGETED], True),
        ([CODE, *[COMMENT] * 49, RETARGETED], True),
        ([COMMENT] * 100, False),
        ([], False),
    ],
)
def test_timeline_of_gitea_is_read_to_its_end(forge: Forge, played: Played, types: list[str], moved: bool) -> None:
    """No Link header says that there is more, and a page lacks the comments on code that it was filled with."""
    played.timelines[7] = [{"id": at, "type": one} for at, one in enumerate(types)]
    assert forge.moved(7) is moved


def test_timeline_of_github_is_read_to_its_end() -> None:
    with forges.played("/api/v3") as (forge, played, _):
        played.page = 2
        played.timelines[7] = [{"event": one} for one in ("committed", "labeled", "commented", "base_ref_changed")]
        assert forge.moved(7)


def test_full_page_without_a_word_of_another_is_followed_by_one_more_look(forge: Forge, played: Played) -> None:
    for number in range(50):
        played.add_pull(f"topic-{number}")
    assert len(forge.pulls()) == 50
    assert [one.query["page"] for one in played.asked] == ["1", "2"]


def test_pull_request_is_found_by_its_head_in_a_fork_too(forge: Forge, played: Played) -> None:
    played.page = 1
    played.add_pull("topic", sha="d" * 40, repository="stranger/model")
    played.add_pull("topic", sha="e" * 40, state="closed")
    played.add_pull("other")
    found = forge.pull_of("d" * 40)
    assert found is not None
    assert found.head_repository == "stranger/model"
    assert forge.pull_of("e" * 40) is None


def test_open_pull_makes_one_then_updates_it(forge: Forge, played: Played) -> None:
    first = forge.open_pull("topic", "main", "One", "body")
    again = forge.open_pull("topic", "main", "Two", "body")
    assert (first.number, again.number, again.title, len(played.pulls)) == (1, 1, "Two", 1)
    forge.open_pull("topic", "main", "Two", "body")
    assert len(played.said("PATCH")) == 1


def test_pull_request_that_somebody_else_opens_meanwhile_is_updated(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(409, "POST", body='{"message": "it exists"}', carried_out=True))
    assert forge.open_pull("topic", "main", "Ours", "body").title == "Ours"
    assert len(played.pulls) == 1


def test_pull_request_that_the_forge_refuses_is_not_taken_for_one_that_exists(forge: Forge, played: Played) -> None:
    played.faults.append(
        Fault(422, "POST", body='{"message": "Validation Failed", "errors": [{"message": "no head"}]}')
    )
    with pytest.raises(ForgeError, match=r"422 to POST .*no head"):
        forge.open_pull("topic", "main", "Ours", "body")


@pytest.mark.parametrize("lost", LOST, ids=["answered 502", "timed out"])
def test_pull_request_whose_answer_was_lost_is_not_made_twice(forge: Forge, played: Played, lost: Fault) -> None:
    played.faults.append(lost)
    assert forge.open_pull("topic", "main", "One", "body").number == 1
    assert (len(played.pulls), len(played.said("POST"))) == (1, 1)


def test_pull_request_that_was_not_made_is_asked_for_again(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(503, "POST"))
    assert forge.open_pull("topic", "main", "One", "body").number == 1
    assert len(played.said("POST")) == 2


def test_pull_request_is_closed_without_touching_its_words(forge: Forge, played: Played) -> None:
    played.add_pull("topic", title="kept")
    assert forge.update_pull(1, state="closed").state == "closed"
    assert played.said("PATCH")[0].body == {"state": "closed"}


# Comments, issues, statuses.


def test_comment_is_made_once_and_updated_in_place(forge: Forge, played: Played) -> None:
    first = forge.comment(3, MARKER, "pass")
    again = forge.comment(3, MARKER, "fail")
    assert (first.id, first.body) == (again.id, f"{MARKER}\npass")
    assert [one["body"] for one in played.comments[3]] == [f"{MARKER}\nfail"]
    forge.comment(3, MARKER, f"{MARKER}\nfail")
    assert len(played.said("PATCH")) == 1


def test_comment_of_somebody_else_with_our_marker_is_left_alone(forge: Forge, played: Played) -> None:
    played.add_comment(3, f"{MARKER}\nforged", author="stranger")
    played.add_comment(3, f"quoted {MARKER}")
    forge.comment(3, MARKER, "true")
    assert played.comments[3][0]["body"] == f"{MARKER}\nforged"
    assert len(played.comments[3]) == 3


def test_comment_of_ours_is_found_on_a_later_page() -> None:
    with forges.played("/api/v3") as (forge, played, _):
        played.page = 2
        for number in range(4):
            played.add_comment(3, f"talk {number}", author="people")
        played.add_comment(3, f"{MARKER}\nold")
        assert forge.comment(3, MARKER, "new").id == 5


def test_list_that_knows_no_pages_is_read_once(forge: Forge, played: Played) -> None:
    """Gitea gives all comments, whatever page is asked for: the second answer is the first one again."""
    for number in range(60):
        played.add_comment(3, f"talk {number}")
    assert [one.id for one in forge.comments(3)] == [*range(1, 61)]
    assert len(played.asked) == 2


@pytest.mark.parametrize("lost", LOST, ids=["answered 502", "timed out"])
def test_comment_whose_answer_was_lost_is_not_made_twice(forge: Forge, played: Played, lost: Fault) -> None:
    played.faults.append(lost)
    assert forge.comment(3, MARKER, "pass").body == f"{MARKER}\npass"
    assert len(played.comments[3]) == 1


def test_installation_of_an_app_learns_its_name_elsewhere() -> None:
    with forges.played("/api/v3") as (forge, played, _):
        played.installation, played.login = True, "our-app[bot]"
        assert forge.login == "our-app[bot]"


def test_gitea_token_that_may_not_ask_who_it_is_names_the_scope(forge: Forge, played: Played) -> None:
    played.installation = True
    with pytest.raises(ForgeError, match='"read:user" on Gitea'):
        forge.login  # noqa: B018 - it asks


def test_one_open_issue_a_marker(forge: Forge, played: Played) -> None:
    played.add_pull("topic", body=f"{MARKER}\na pull request is no issue")
    played.add_issue("forged", f"{MARKER}\nforged", author="stranger")
    made = forge.open_issue(MARKER, "Paused", "why")
    again = forge.open_issue(MARKER, "Paused still", "why")
    assert (made.number, again.title) == (again.number, "Paused still")
    assert len(played.issues) == 2
    forge.close_issue(MARKER, "over")
    assert [one["state"] for one in played.issues] == ["closed", "open"]
    assert "over" in played.comments[made.number][0]["body"]
    forge.close_issue(MARKER, "over")
    assert forge.open_issue(MARKER, "Paused", "again").number != made.number


@pytest.mark.parametrize("lost", LOST, ids=["answered 502", "timed out"])
def test_issue_whose_answer_was_lost_is_not_made_twice(forge: Forge, played: Played, lost: Fault) -> None:
    played.faults.append(lost)
    assert forge.open_issue(MARKER, "Paused", "why").number == 1
    assert len(played.issues) == 1


def test_status_is_cut_to_what_both_take(forge: Forge, played: Played) -> None:
    forge.status("a" * 40, "flightline/gates", "success", "x" * 200)
    forge.status("a" * 40, "flightline/gates", "failure", "no", "http://forge/r/1")
    assert [len(one["description"]) for one in played.statuses] == [140, 2]
    assert ["target_url" in one for one in played.statuses] == [False, True]


# Workflows and their runs.


def test_workflow_is_started_with_its_inputs(forge: Forge, played: Played) -> None:
    forge.dispatch("promote.yml", "main", {"identity": "a", "event": "completed"})
    wanted = {"workflow": "promote.yml", "ref": "main", "inputs": {"identity": "a", "event": "completed"}}
    assert played.dispatched == [wanted]


@pytest.mark.parametrize("lost", LOST, ids=["answered 502", "timed out"])
def test_workflow_whose_answer_was_lost_is_not_started_twice(forge: Forge, played: Played, lost: Fault) -> None:
    played.add_run("promote.yml@refs/heads/main", event="workflow_dispatch")
    played.faults.append(lost)
    forge.dispatch("promote.yml", "main", {})
    assert len(played.dispatched) == 1


@pytest.mark.parametrize(("theirs", "sent"), [("release/staging/b", 2), ("promote/production/a", 1)])
def test_run_that_somebody_else_asks_for_meanwhile_is_theirs(
    forge: Forge, played: Played, theirs: str, sent: int
) -> None:
    """A required check of the branch would be missing; one of the same branch is as good as ours."""

    def asked_for(_: float) -> None:
        played.add_run("pr.yml", event="workflow_dispatch", head_branch=theirs)

    played.faults.append(Fault(502, "POST"))
    forge.client.sleep = asked_for
    forge.dispatch("pr.yml", "promote/production/a", {})
    assert len(played.said("POST")) == sent


def test_workflow_with_inputs_is_rather_started_twice_than_taken_for_another_s(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(502, "POST", carried_out=True))
    forge.dispatch("report.yml", "main", {"commit": "a" * 40})
    assert [one["inputs"] for one in played.dispatched] == [{"commit": "a" * 40}] * 2


def test_workflow_that_did_not_start_is_started_again(forge: Forge, played: Played) -> None:
    played.add_run("promote.yml@refs/heads/main", event="workflow_dispatch")
    played.faults.append(Fault(500, "POST"))
    forge.dispatch("promote.yml", "main", {})
    assert (len(played.dispatched), len(played.said("POST"))) == (1, 2)


@pytest.mark.parametrize("path", ["gate.yml@refs/heads/topic", ".github/workflows/gate.yml"])
def test_run_of_either_forge_names_its_file(forge: Forge, played: Played, path: str) -> None:
    played.add_run(path, conclusion=None, head_branch=None, status="in_progress")
    found = forge.run(1)
    assert (found.workflow, found.conclusion, found.head_branch) == ("gate.yml", "", "")


def test_run_of_a_pull_request_is_known_by_its_number_or_by_branch_and_fork(forge: Forge, played: Played) -> None:
    played.add_pull("topic")
    played.add_pull("topic", repository="stranger/model", state="closed")
    played.add_run("pr.yml@refs/pull/1/head", event="pull_request", head_branch="")
    theirs = {"head_branch": "topic", "head_repository": {"full_name": "stranger/model"}}
    played.add_run(".github/workflows/pr.yml", event="pull_request", **theirs)
    assert [one.number for one in forge.pulls_of(forge.run(1))] == [1]
    assert [one.number for one in forge.pulls_of(forge.run(2))] == [2]
    assert played.said("GET", "/pulls")[0].query["head"] == "stranger:topic"


def test_runs_are_filtered_and_read_no_further_than_asked(forge: Forge, played: Played) -> None:
    played.page = 1
    for number in range(3):
        played.add_run("gate.yml", event="push" if number else "schedule")
    assert next(iter(forge.runs(event="push"))).id == 3
    assert len(played.asked) == 1


# What goes wrong.


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_busy_forge_is_asked_again(forge: Forge, played: Played, slept: list[float], status: int) -> None:
    played.faults += [Fault(status), Fault(status)]
    assert forge.pulls() == []
    assert slept == [1.0, 2.0]


def test_silent_forge_is_asked_again(forge: Forge, played: Played, slept: list[float]) -> None:
    played.faults.append(Fault(200, seconds=0.6))
    assert forge.pulls() == []
    assert slept == [1.0]


def test_forge_that_stays_broken_is_given_up_with_its_name(forge: Forge, played: Played, slept: list[float]) -> None:
    played.faults += [Fault(500)] * 10
    with pytest.raises(ForgeError, match=f"GET /repos/{REPOSITORY}/pulls: answered 500, {http.ATTEMPTS} times"):
        forge.pulls()
    assert len(slept) == http.ATTEMPTS - 1


def test_forge_that_is_not_there_is_an_error_that_people_are_told() -> None:
    with forges.played() as (forge, _, slept):
        gone = forge
    with pytest.raises(ForgeError, match="no answer") as caught:
        gone.pulls()
    assert explain(caught.value).code == UNAVAILABLE
    assert len(slept) == http.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:17:00 GMT"}, 20.0),
        (429, {"Retry-After": "soon"}, 1.0),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1030"}, 30.0),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1005"}, 5.0),
        (403, {"Retry-After": "3"}, 3.0),
        (429, {}, 1.0),
        (503, {"Retry-After": "4"}, 4.0),
    ],
)
def test_forge_says_when_to_come_back(
    forge: Forge, played: Played, slept: list[float], status: int, headers: dict[str, str], seconds: float
) -> None:
    played.faults.append(Fault(status, headers=headers))
    assert forge.pulls() == []
    assert slept == [seconds]


def test_rate_limit_on_a_creation_is_waited_for_and_nothing_is_looked_up(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(429, "POST", {"Retry-After": "2"}))
    forge.open_pull("topic", "main", "One", "body")
    assert [one.method for one in played.asked] == ["GET", "POST", "POST"]


def test_wait_beyond_what_is_waited_in_total_is_refused(forge: Forge, played: Played, slept: list[float]) -> None:
    played.faults += [Fault(429, headers={"Retry-After": "100"}), Fault(429, headers={"Retry-After": "30"})]
    with pytest.raises(ForgeError, match="another 30 s would be needed, and 100 of the 120 s"):
        forge.pulls()
    assert slept == [100.0]


def test_waits_are_told(forge: Forge, played: Played) -> None:
    told: list[str] = []
    forge.client.say = told.append
    played.faults.append(Fault(429, headers={"Retry-After": "7"}))
    forge.pulls()
    assert told == [f"GET /repos/{REPOSITORY}/pulls: answered 429, a rate limit; trying again in 7 s"]


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize(
    ("does", "github", "gitea"),
    [
        (lambda forge: forge.pull(1), "pull-requests: read", "read:repository"),
        (lambda forge: forge.open_pull("topic", "main", "t", "b"), "pull-requests: write", "write:repository"),
        (lambda forge: forge.comment(1, MARKER, "b"), "issues: write", "write:issue"),
        (lambda forge: forge.open_issue(MARKER, "t", "b"), "issues: write", "write:issue"),
        (lambda forge: forge.status("a", "c", "success", "d"), "statuses: write", "write:repository"),
        (lambda forge: forge.dispatch("a.yml", "main", {}), "actions: write", "write:repository"),
        (lambda forge: forge.run(1), "actions: read", "read:repository"),
    ],
)
def test_missing_permission_is_named_for_both_forges(
    forge: Forge, played: Played, status: int, does, github: str, gitea: str
) -> None:
    method = "POST" if "write" in github else "GET"
    played.faults.append(Fault(status, method, body='{"message": "Resource not accessible"}'))
    with pytest.raises(ForgeError) as caught:
        does(forge)
    said = str(caught.value)
    assert f"answered {status} to {method}" in said
    assert f'"{github}"' in said
    assert f'"{gitea}"' in said
    assert "Resource not accessible" in said
    assert caught.value.status == status


def test_words_of_the_forge_cannot_write_on_a_terminal(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(400, body='{"message": "\\u001b[31mred\\nline"}'))
    with pytest.raises(ForgeError) as caught:
        forge.pulls()
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answer_of_another_shape_is_an_error_with_a_sentence(forge: Forge, played: Played) -> None:
    played.faults.append(Fault(200, body='{"sorry": "this is a proxy"}'))
    with pytest.raises(ForgeError, match="something else than was asked for"):
        forge.pull(1)
