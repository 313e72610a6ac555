"""What every workflow here promises, read from the files that a forge runs."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import paths
from pipeline.delivery.freeze import FREEZE
from pipeline.delivery.history import BUNDLE, HELD, MANIFESTS, RELEASE
from pipeline.tools import TOOLS
from pipeline.validate import workflows
from tests.keys import TRIED

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / ".github"
WORKFLOWS = {path.stem: path for path in sorted((FOLDER / "workflows").glob("*.yml"))}
ACTIONS = {path.parent.name: path for path in sorted((FOLDER / "actions").glob("*/action.yml"))}
SETTINGS = yaml.safe_load((FOLDER / "settings.yaml").read_text())
FILES = [*WORKFLOWS.values(), *ACTIONS.values()]
RUNS_STRANGERS_CODE = ("pr", "gate", "security", "checks")
# Of main's code, beside a key, and without the model's.
MAINS = ("report", "rollback")
# Verbs that ask `origin` or the forge, and those that do without: `plan` then takes main as it was checked out.
ASKS = {
    *("ci judged", "ci wanted", "comment", "commit-lock", "image ensure", "promote", "publish", "reconcile"),
    *("release", "rollback"),
}
DOES_WITHOUT = {
    *("check change", "ci cluster", "ci give", "ci here", "ci identity", "ci login", "ci receive", "ci remote"),
    *("evidence", "gate", "plan", "sign"),
}


def document(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    found = document(path)
    jobs = found["jobs"].values() if "jobs" in found else [found["runs"]]
    return [step for job in jobs for step in job.get("steps", ())]


def named(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def test_the_workflows_are_these() -> None:
    assert set(WORKFLOWS) == set("checks deliver gate pr promote reconcile report rollback security".split())


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_keeps_the_rules(path: Path) -> None:
    assert list(workflows.rules(path.relative_to(PROJECT), path.read_text())) == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_step_is_a_target_or_a_verb(path: Path) -> None:
    """Or one of the few words that a forge needs besides, each of which decides nothing."""
    besides = ("exit 1", "echo ", "sudo sysctl ")
    for step in steps(path):
        words = re.sub(r'^nice -n (19|"\$NICE") ', "", str(step.get("run", "make ")))
        assert words.startswith(("make ", "flightline ", *besides)), words


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_text_reaches_a_shell_but_by_a_variable(path: Path) -> None:
    """A branch may be called `$(curl evil)`: an expression in a script would be run, a quoted variable is not."""
    for step in steps(path):
        script = str(step.get("run", ""))
        assert "${{" not in script
        for variable in re.findall(r"\$\{?[A-Z_]+\}?", script):
            assert re.search(rf'"[^"]*{re.escape(variable)}', script), f"{variable} is not quoted in {script!r}"


def verbs(step: dict[str, Any]) -> set[str]:
    """What a step runs, as the lists above name it."""
    said = re.findall(r"flightline ((?:ci|check|image) [a-z]+|[a-z-]+)", str(step.get("run", "")))
    return set(said)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_verb_that_asks_the_remote_has_a_token(path: Path) -> None:
    """A private repository answers nobody without one, and no checkout keeps its own."""
    for step in steps(path):
        assert verbs(step) <= ASKS | DOES_WITHOUT, "does it ask the remote? see the lists above"
        if verbs(step) & ASKS:
            assert step["env"].get("GITHUB_TOKEN") == "${{ github.token }}", step["run"]


@pytest.mark.parametrize("name", RUNS_STRANGERS_CODE)
def test_what_runs_a_branchs_code_reads_and_has_no_secret(name: str) -> None:
    text, found = WORKFLOWS[name].read_text(), document(WORKFLOWS[name])
    assert "secrets." not in text
    # The login of `pr`: a token that reads, for packages that the branch's author may read.
    assert text.count("github.token") == (1 if name == "pr" else 0)
    for job in found["jobs"].values():
        assert set(job["permissions"].values()) <= {"read"}
        assert "environment" not in job


@pytest.mark.parametrize("name", sorted(set(WORKFLOWS) - set(RUNS_STRANGERS_CODE) - {"deliver"}))
def test_what_may_write_runs_mains_code_alone(name: str) -> None:
    checkouts = [step for step in steps(WORKFLOWS[name]) if "actions/checkout@" in str(step.get("uses"))]
    assert {step["with"]["ref"] for step in checkouts} == {"${{ github.event.repository.default_branch }}"}


@pytest.mark.parametrize("name", ["deliver", "security"])
@pytest.mark.parametrize(("file", "starts"), [(MANIFESTS, False), (RELEASE, False), (BUNDLE, False), (HELD, True)])
def test_release_commit_starts_no_run_and_an_unhold_does(name: str, file: str, starts: bool) -> None:
    """True is how YAML reads `on`."""
    pattern, *others = document(WORKFLOWS[name])[True]["push"]["paths-ignore"]
    assert others == (["dvc.lock"] if name == "security" else []), "hashes are not scanned; a lock is delivered"
    assert fnmatch(f"{paths.RELEASES}/staging/{file}", pattern) is not starts
    assert not fnmatch("k8s/base/rollout.yaml", pattern)
    assert pattern.count("/") == f"{paths.RELEASES}/staging/{file}".count("/"), "a forge's * does not cross a /"


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        (FREEZE.as_posix(), True),
        (f"{paths.RELEASES}/staging/{HELD}", True),
        (f"{paths.RELEASES}/production/{HELD}", True),
        (f"{paths.RELEASES}/staging/{RELEASE}", False),
        ("k8s/base/rollout.yaml", False),
    ],
)
def test_freeze_or_hold_on_main_closes_what_it_stops(path: str, *, starts: bool) -> None:
    """By the run that an empty dispatch is; the poll stays with the schedule."""
    found = document(WORKFLOWS["reconcile"])
    pushed = found[True]["push"]
    assert pushed["branches"] == ["main"]
    assert any(fnmatch(path, one) and path.count("/") == one.count("/") for one in pushed["paths"]) is starts
    assert found["jobs"]["reconcile"]["if"] == "github.event_name != 'schedule' || vars.FLIGHTLINE_POLL == 'true'"
    scripts = {one["run"].partition(" --")[2][:5]: one["if"] for one in steps(WORKFLOWS["reconcile"]) if "if" in one}
    assert scripts == {"event": "github.event_name != 'schedule'", "poll": "github.event_name == 'schedule'"}
    assert "github.event_name" in found["concurrency"]["group"], "a schedule that does nothing drops no push that waits"


def test_release_as_a_pull_request_has_what_its_body_is_written_with() -> None:
    """`release --push` takes fewer packages: the cluster waits for it."""
    (setup,) = [one for one in steps(ACTIONS["release"]) if one.get("uses") == "./.github/actions/setup"]
    (mode,) = [one["env"]["MODE"] for one in steps(ACTIONS["release"]) if "MODE" in one.get("env", {})]
    assert mode == "${{ inputs.app != '' && '--push' || '--pull-request' }}"
    assert setup["with"]["environments"] == "deliver${{ inputs.app == '' && ' gate' || '' }}"


def test_person_says_where_to_promote_to() -> None:
    (step,) = [one for one in steps(WORKFLOWS["promote"]) if one.get("if") == "inputs.event == ''"]
    assert '--env="$ENVIRONMENT"' in step["run"]
    assert step["env"]["ENVIRONMENT"] == "${{ inputs.environment }}"


@pytest.mark.parametrize("name", ["promote", "reconcile", "report"])
def test_logged_rows_are_read_by_mains_code_where_a_store_is_named_and_nowhere_else(name: str) -> None:
    text = WORKFLOWS[name].read_text()
    assert text.count("FLIGHTLINE_STORE: ${{ vars.FLIGHTLINE_STORE }}") == 1
    (setup,) = [one for one in steps(WORKFLOWS[name]) if one.get("uses") == "./.github/actions/setup"]
    assert setup["with"]["environments"].endswith("${{ vars.FLIGHTLINE_STORE && ' monitor' || '' }}")
    assert not any("FLIGHTLINE_STORE" in WORKFLOWS[one].read_text() for one in RUNS_STRANGERS_CODE)
    (check,) = [one["run"] for one in steps(WORKFLOWS["pr"]) if "check change" in str(one.get("run"))]
    assert "--no-store" in check, "the branch's code has no rows to prove it by, and would keep it from being merged"


def test_release_follows_checks_that_passed_or_were_left_out_and_no_others() -> None:
    condition = document(WORKFLOWS["deliver"])["jobs"]["release"]["if"]
    assert condition.startswith("!failure() && !cancelled() && ")
    assert "needs.checks.result != 'cancelled'" in condition, "one that ran out of time is no failure"
    assert "needs.build.result == 'success'" in condition


def test_what_trains_can_read_and_nothing_else() -> None:
    """Every step of a job can ask for its OIDC token and read its checkout's secrets: keys are in other jobs."""
    jobs = document(WORKFLOWS["deliver"])["jobs"]
    assert set(jobs["train"]["permissions"].values()) == {"read"}
    assert "environment" not in jobs["train"]
    assert "secrets." not in str(jobs["train"]) + ACTIONS["train"].read_text()
    # Asked with before the model's code runs: a token that reads.
    assert [one["run"].split()[2] for one in steps(ACTIONS["train"]) if "github.token" in str(one)] == ["wanted"]
    assert not set(jobs["train"]) & {"env", "container", "services"}


def test_nothing_is_trained_beside_keys() -> None:
    trains = {named(path) for path in FILES if any("make reproduce" in str(step.get("run")) for step in steps(path))}
    assert trains == {"actions/train/action.yml", "workflows/gate.yml"}
    users = [
        name
        for name, job in document(WORKFLOWS["deliver"])["jobs"].items()
        if any(step.get("uses") == "./.github/actions/train" for step in job.get("steps", ()))
    ]
    assert users == ["train"]


def test_what_was_trained_is_looked_at_before_there_are_keys() -> None:
    scripts = [str(step.get("run", step.get("uses"))) for step in steps(ACTIONS["lock"])]
    received = scripts.index("flightline ci receive build/trained")
    assert all("secret" not in str(step) and "inputs." not in str(step) for step in steps(ACTIONS["lock"])[:received])
    assert received < next(at for at, one in enumerate(scripts) if "ci identity" in one) < scripts.index("make share")


def test_what_runs_the_image_cannot_sign_it_nor_write_to_main() -> None:
    jobs = document(WORKFLOWS["deliver"])["jobs"]
    loads = [name for name in ACTIONS if any("gate load" in str(step.get("run")) for step in steps(ACTIONS[name]))]
    assert loads == ["build"]
    assert {name for name, right in jobs["build"]["permissions"].items() if right == "write"} == {"packages"}
    assert not re.search(r"COSIGN|FLIGHTLINE_APP_KEY", str(jobs["build"]["steps"]))


def test_image_is_signed_only_after_every_gate_and_before_it_is_released() -> None:
    scripts = [str(step.get("run")) for step in steps(ACTIONS["release"])]
    signed = next(at for at, one in enumerate(scripts) if one.startswith("flightline sign "))
    assert signed < next(at for at, one in enumerate(scripts) if one.startswith("flightline release "))
    assert not any("flightline gate" in one for one in scripts)


def test_jobs_with_keys_run_verbs_that_are_tried_without_the_model_s_code() -> None:
    """A promotion asks the model what its columns are: docs/workflows.md."""
    files = [ACTIONS[one] for one in ("setup", "lock", "build", "release")] + [WORKFLOWS[one] for one in MAINS]
    scripts = "\n".join(str(step.get("run", "")) for path in files for step in steps(path))
    said = re.findall(r"flightline ([a-z-]+)(?: ([a-z]+))?", scripts)
    groups = {one.partition(" ")[0] for one in TRIED if " " in one}
    verbs = {f"{verb} {word}" if verb in groups else verb for verb, word in said}
    assert verbs | {"ci restore"} == set(TRIED), "see tests/keys.py"


def test_only_main_is_delivered() -> None:
    on = document(WORKFLOWS["deliver"])[True]
    assert on["push"]["branches"] == ["main"]
    assert set(on) == {"push", "workflow_dispatch"}
    assert "paths" not in on["push"]


def test_going_back_never_waits_for_a_delivery() -> None:
    groups = {name: document(path).get("concurrency", {}).get("group") for name, path in WORKFLOWS.items()}
    # Gitea 1.26 knows no run's number yet when it groups it; two commits are apart all the same.
    assert groups["deliver"] == "deliver-${{ github.sha }}-${{ github.run_id }}", "a forge drops runs that wait"
    for name in ("rollback", "reconcile", "promote"):
        assert groups[name].startswith(f"{name}-")
    for name in ("reconcile", "promote"):
        assert groups[name].endswith("-${{ inputs.identity }}"), "an event drops none of another identity that waits"
        assert document(WORKFLOWS[name])["concurrency"]["cancel-in-progress"] is False


def test_a_report_is_written_however_the_run_ended_and_one_at_a_time_for_a_commit() -> None:
    found = document(WORKFLOWS["report"])
    assert "if" not in found["jobs"]["report"]
    assert found["concurrency"] == {
        "group": "report-${{ github.event.workflow_run.head_sha || inputs.commit }}",
        "cancel-in-progress": False,
    }


def test_the_required_check_always_runs_and_asks_for_every_job() -> None:
    """A job that is skipped leaves a required check pending for ever."""
    jobs = document(WORKFLOWS["pr"])["jobs"]
    summary = jobs["gate-summary"]
    assert summary["if"] == "always()"
    assert set(summary["needs"]) == set(jobs) - {"gate-summary"}
    assert all(f"needs.{name}.result" in summary["steps"][0]["if"] for name in summary["needs"])


def test_required_checks_are_jobs_and_statuses_that_there_are() -> None:
    for one in SETTINGS["main"]["required_checks"]:
        if "job" in one:
            assert one["job"] in document(WORKFLOWS[one["workflow"]])["jobs"]
        else:
            assert one["status"] == "flightline/gates"


def test_every_secret_and_variable_is_in_the_list_of_settings() -> None:
    text = "\n".join(path.read_text() for path in FILES)
    assert set(re.findall(r"secrets\.(\w+)", text)) == set(SETTINGS["environments"]["main"]["secrets"])
    assert set(re.findall(r"vars\.(\w+)", text)) == set(SETTINGS["variables"])


def test_what_the_built_in_token_may_do_is_set_as_the_list_says() -> None:
    page = (PROJECT / "docs/repository-settings.md").read_text()
    wanted, opens = SETTINGS["actions"], SETTINGS["actions"]["can_approve_pull_request_reviews"]
    assert f"default_workflow_permissions={wanted['default_permissions']} " in page
    assert f"can_approve_pull_request_reviews={str(opens).lower()} " in page
    assert [name for name in wanted if name.startswith("can_")] == ["can_approve_pull_request_reviews"]


def test_the_app_is_asked_for_what_the_settings_grant_it() -> None:
    (minted,) = [step for step in steps(ACTIONS["token"]) if "create-github-app-token" in step["uses"]]
    asked = {name.removeprefix("permission-").replace("-", "_"): value for name, value in minted["with"].items()}
    assert {name: asked[name] for name in SETTINGS["app"]["permissions"]} == SETTINGS["app"]["permissions"]
    assert len(asked) == len(SETTINGS["app"]["permissions"]) + 2


def test_the_cluster_can_send_every_input_that_these_take() -> None:
    """A forge refuses an input that a workflow does not name."""
    sent = set(re.findall(r'^ +"(\w+)" ', (PROJECT / "argocd/notifications/configmap.yaml").read_text(), re.MULTILINE))
    for name in ("promote", "reconcile"):
        inputs = document(WORKFLOWS[name])[True]["workflow_dispatch"]["inputs"]
        assert sent == set(inputs)
        assert all(one["type"] == "string" and not one.get("required") for one in inputs.values())


def test_cosign_is_the_one_that_the_tools_pin() -> None:
    assert "cosign" in {one.name for one in TOOLS}
    installed = {
        step["with"]["cosign-release"]
        for path in FILES
        for step in steps(path)
        if "cosign-installer" in str(step.get("uses"))
    }
    (version,) = installed
    assert f"sigstore/cosign/v3 {version}" in (PROJECT / "infra/tools/cosign/go.mod").read_text()


def test_an_action_is_pinned_to_one_commit_everywhere() -> None:
    pins = re.findall(r"uses: ([\w/-]+)@(\w+ # \S+)", "\n".join(path.read_text() for path in FILES))
    assert len(set(pins)) == len({name for name, _ in pins})
    assert {name for name, _ in pins} == workflows.ACTIONS


def folders(*patterns: str) -> set[str]:
    """Those of the repository's files that are called so, as Dependabot writes a folder."""
    words = ["git", "ls-files", "-z", "--", *(f":(glob)**/{one}" for one in patterns)]
    listed = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return {f"/{one.rpartition('/')[0]}" for one in listed.split("\0") if one}


PINNED = {
    "github-actions": {"/"} | folders(".github/**/action.yml"),  # the root is the workflows'
    "pip": folders("requirements/*.in"),
    "docker": folders("Dockerfile", "*.Dockerfile"),
    "gomod": folders("go.mod"),
}


@pytest.mark.parametrize("ecosystem", PINNED)
def test_dependabot_watches_every_folder_where_something_is_pinned(ecosystem: str) -> None:
    updates = yaml.safe_load((FOLDER / "dependabot.yml").read_text())["updates"]
    watched = [each for one in updates if one["package-ecosystem"] == ecosystem for each in watched_by(one)]
    missed = {one for one in PINNED[ecosystem] if not any(below(one, each) for each in watched)}
    assert missed == set()
    assert {one["package-ecosystem"] for one in updates} == set(PINNED)


def watched_by(update: dict[str, Any]) -> list[str]:
    """The folders of an entry."""
    found: list[str] = update.get("directories") or [update["directory"]]
    return found


def below(folder: str, pattern: str) -> bool:
    """Whether a pattern names a folder; its * does not cross a /."""
    return fnmatch(folder, pattern) and folder.count("/") == pattern.count("/")
