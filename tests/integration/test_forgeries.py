"""What somebody might write by hand into k8s/releases/, consistent in itself: only others can tell it is false."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest

from pipeline import builders, image, oci, signature
from pipeline.delivery import checks, expectations
from pipeline.delivery.candidate import BASE_LABEL, values
from pipeline.delivery.checks import check_change
from pipeline.delivery.history import BUNDLE, HELD, MANIFESTS, RELEASE, folder
from pipeline.delivery.hold import hold
from pipeline.delivery.identity import identity
from pipeline.delivery.models import Expects, Judged, Release, read_holds, read_release, write_holds, write_release
from pipeline.delivery.proofs import Proofs, check_expects
from pipeline.delivery.release import measured
from pipeline.delivery.render import render
from pipeline.delivery.rollback import rollback
from pipeline.errors import UnavailableError
from pipeline.monitoring.store import VARIABLE, open_store
from pipeline.oci import Layout
from pipeline.registry import Registry
from pipeline.review.post import post
from tests import deliveries, forges, images, observed
from tests.checkouts import PROJECT
from tests.deliveries import PUSH, Fork, expect, say
from tests.images import write_code

STAGING, PRODUCTION = folder("staging"), folder("production")


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fork with two releases, whose images are in a registry on loopback."""
    where = tmp_path_factory.mktemp("began")
    with images.registry(where) as host:
        made = deliveries.fork(where)
        settings = (made.root / "pyproject.toml").read_text().replace(deliveries.REGISTRY, f"{host}/flightline")
        made.commit("a registry", {"pyproject.toml": settings})
        for bias in (1.0, 2.0):
            made.train(bias)
            assert made.release(reference=pushed(made, host)).outcome == "pushed"
            made.pull()
        yield where


@pytest.fixture
def two(began: Path, tmp_path: Path) -> Fork:
    return deliveries.copied(began, tmp_path / "two")


def pushed(made: Fork, host: str, **more: str) -> str:
    """The bundle's image on these sources' code, in the registry, by digest; `more` are labels."""
    labels = {builders.INPUTS_LABEL: builders.inputs(made.root, builders.Base("", deliveries.BASE))}
    layout, store = Layout(made.root / "build/code"), Registry(host, "flightline")
    code = write_code(layout.path, Labels={**labels, **more, BASE_LABEL: deliveries.BASE})
    oci.copy(oci.read(layout, code.digest), layout, store, "code")
    place = f"{host}/flightline"
    return image.append(f"{place}@{code.digest}", made.root / "build/bundle", place).reference


def registry_of(made: Fork) -> str:
    return made.context.settings.registry


def prepared_release(made: Fork) -> str:
    """A branch with a new release to staging, as `flightline release` prepares it."""
    made.train(3.0)
    found = made.release(deliveries.BRANCH, pushed(made, registry_of(made).partition("/")[0]))
    return str(found.commit)


def forged(made: Fork, env: str, commit: str, **changes: object) -> tuple[str, str]:
    """(base, head): what was prepared, with another claim, and manifests that are rendered from that claim."""
    base, files = made.repository.fetch(), made.files(env, commit)
    release = read_release(files[RELEASE], RELEASE)
    claims = Release.model_validate(release.model_copy(update=changes).model_dump())
    with made.repository.exported(claims.source) as tree:
        rendered = render(tree, env, values(claims))
    written = {MANIFESTS: rendered, RELEASE: write_release(claims), BUNDLE: files[BUNDLE]}
    head = made.repository.commit(base, {f"{folder(env)}/{name}": data for name, data in written.items()}, "forged")
    return base, head


def said(found: tuple[checks.Finding, ...]) -> str:
    return "\n".join(one.text for one in found)


def proved(made: Fork, base: str, head: str) -> str:
    return said(check_change(made.context, base, head, Proofs(made.root, expect)))


def earlier(made: Fork) -> Release:
    """The release before the one that stands."""
    commit, _ = list(made.timeline().releases())[1]
    return read_release(made.files(commit=commit)[RELEASE], RELEASE)


LOOSE = Expects(released=None, ks=0, max_ks=0.9, rows=0)


# A promotion


def test_promotion_proves_itself(two: Fork) -> None:
    found = two.promote()
    assert proved(two, two.repository.fetch(), str(found.commit)) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (lambda made: {"image": earlier(made).image}, "image is"),
        (lambda _: {"image": f"evil.example.com/x@sha256:{'e' * 64}"}, "image is 'evil.example.com/x"),
        (lambda made: {"version": earlier(made).version}, "version is"),
        (lambda _: {"identity": "e" * 64}, "identity is"),
        (lambda _: {"metrics": {"loss": 0.0}}, "metrics is"),
        (lambda _: {"verdict": Judged(decision="pass", reason="trust me")}, "verdict is"),
        (lambda made: {"source": earlier(made).source}, "source is"),
    ],
)
def test_promotion_that_says_other_than_staging_is_refused(
    two: Fork, changes: Callable[[Fork], Mapping[str, object]], why: str
) -> None:
    base, head = forged(two, "production", str(two.promote().commit), **changes(two))
    assert why in said(check_change(two.context, base, head))


def test_promotion_with_another_bundle_is_refused(two: Fork) -> None:
    base, commit = two.repository.fetch(), str(two.promote().commit)
    first = two.files(commit=list(two.timeline().releases())[1][0])
    head = two.repository.commit(commit, {f"{PRODUCTION}/{BUNDLE}": first[BUNDLE]}, "forged")
    assert "bundle.dvc is not the one" in said(check_change(two.context, base, head))


def test_promotion_that_expects_less_of_its_canary_is_refused(two: Fork) -> None:
    two.promoted()
    two.pull()
    two.train(3.0)
    assert two.release(reference=pushed(two, registry_of(two).partition("/")[0])).outcome == "pushed"
    two.pull()
    commit = str(two.promote().commit)
    expects = read_release(two.files("production", commit)[RELEASE], RELEASE).expects
    base, head = forged(two, "production", commit, expects=expects.model_copy(update={"max_ks": 0.9}))
    assert "max_ks is 0.9, measured here" in proved(two, base, head)
    assert said(check_change(two.context, base, head)) == ""  # git alone cannot tell


def test_manifests_of_another_environment_are_refused(two: Fork) -> None:
    base, staging = two.repository.fetch(), two.files()
    head = two.repository.commit(base, {f"{PRODUCTION}/{name}": data for name, data in staging.items()}, "copied")
    assert "environment 'staging' in the folder of 'production'" in said(check_change(two.context, base, head))
    prepared = two.files("production", str(two.promote().commit))
    mixed = {**prepared, MANIFESTS: staging[MANIFESTS]}
    head = two.repository.commit(base, {f"{PRODUCTION}/{name}": data for name, data in mixed.items()}, "mixed")
    assert "manifests.yaml is not what" in said(check_change(two.context, base, head))


def test_release_of_what_never_was_in_staging_is_refused(two: Fork) -> None:
    prepared = two.files("staging", prepared_release(two))
    claims = read_release(prepared[RELEASE], RELEASE).model_copy(update={"environment": "production"})
    base = two.repository.fetch()
    files = {**prepared, RELEASE: write_release(claims)}
    head = two.repository.commit(base, {f"{PRODUCTION}/{name}": data for name, data in files.items()}, "straight")
    assert "staging has" in said(check_change(two.context, base, head))


# A promotion that was measured over logged rows


def log(made: Fork, day: str, count: int, **features: float) -> None:
    """So many requests of a day in the store, of the example's features but for those."""
    card, schema = made.context.model.card, made.context.model.schema
    row = {one.name: one.example for one in signature.of_model(card, schema).inputs}
    said = {"model": card.name, "features": row | features}
    lines = [observed.line(f"{day} {at}", f"{day}T10:00:00Z", **said) for at in range(count)]
    assert open_store(made.context).add_predictions(lines).kept == count


@pytest.fixture
def logged(two: Fork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Fork, str]:
    """Two versions of the checkout's own model, the second prepared for production over sixty logged rows."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "observed"))
    monkeypatch.setattr(expectations, "REPLAYED", 50)
    for name in ("params.yaml", "model"):
        subprocess.run(["cp", "-r", str(PROJECT / name), str(two.root)], check=True)
    described = signature.of_model(two.context.model.card, two.context.model.schema)
    for bias in (-9.0, -5.0):  # the example scores .12 and .88
        two.train(bias, described)
        assert two.release(reference=pushed(two, registry_of(two).partition("/")[0])).outcome == "pushed"
        two.pull()
        if bias == -9:
            two.promoted()
    log(two, "2013-04-01", 60)
    return two, str(two.promote(expect=measured).commit)


def expected(made: Fork, commit: str) -> Expects:
    return read_release(made.files("production", commit)[RELEASE], RELEASE).expects


def asked(made: Fork, base: str, head: str, *, store: bool = True) -> str:
    return said(check_change(made.context, base, head, Proofs(made.root, store=store)))


@pytest.mark.flights
def test_promotion_over_logged_rows_proves_itself_while_the_log_grows(logged: tuple[Fork, str]) -> None:
    made, commit = logged
    expects = expected(made, commit)
    assert (expects.ks, expects.rows, expects.logged_to) == (1, 60, date(2013, 4, 1))
    log(made, "2013-04-02", 40, hour=-1000)  # of which both versions say 1
    assert expected(made, str(made.promote(expect=measured).commit)).ks == 0.6
    assert asked(made, made.repository.fetch(), commit) == ""


@pytest.mark.flights
def test_promotion_over_logged_rows_needs_the_store_or_whoever_has_it(
    logged: tuple[Fork, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, commit = logged
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    base = made.repository.fetch()
    with pytest.raises(UnavailableError, match=r"over logged rows to 2013-04-01, which are not here.*FLIGHTLINE_STORE"):
        asked(made, base, commit)
    assert asked(made, base, commit, store=False) == ""


@pytest.mark.flights
def test_promotion_that_expects_less_of_its_canary_over_logged_rows_is_refused(logged: tuple[Fork, str]) -> None:
    made, commit = logged
    expects = expected(made, commit)
    assert expects.max_ks == 1
    base, head = forged(made, "production", commit, expects=expects.model_copy(update={"max_ks": 0.9}))
    assert "max_ks is 0.9, measured here" in asked(made, base, head)


# A release to the first environment


def test_prepared_release_proves_itself(two: Fork) -> None:
    head = prepared_release(two)
    assert proved(two, two.repository.fetch(), head) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (lambda made, _: {"image": earlier(made).image}, "holds bundle"),
        (lambda _, one: {"image": f"evil.example.com/flightline@{one.digest}"}, "image is from evil.example.com"),
        (lambda _, __: {"metrics": {"loss": 0.0}}, "metrics"),
        (lambda _, one: {"code": one.code.model_copy(update={"image": f"sha256:{'e' * 64}"})}, "code.image"),
        (lambda _, one: {"expects": one.expects.model_copy(update={"max_ks": 0.9})}, "max_ks is 0.9"),
        (lambda _, __: {"expects": LOOSE}, "against nothing"),
        (lambda _, __: {"identity": "e" * 64}, "identity"),
    ],
)
def test_release_that_says_what_is_not_so_is_refused(
    two: Fork, changes: Callable[[Fork, Release], Mapping[str, object]], why: str
) -> None:
    commit = prepared_release(two)
    release = read_release(two.files(commit=commit)[RELEASE], RELEASE)
    base, head = forged(two, "staging", commit, **changes(two, release))
    assert why in proved(two, base, head)


def test_release_with_the_figures_and_image_of_another_bundle_is_refused(two: Fork) -> None:
    """Version, image and identity fit each other; only the bundle itself says that it is another."""
    commit, before = prepared_release(two), earlier(two)
    release = read_release(two.files(commit=commit)[RELEASE], RELEASE)
    settings = two.context.settings
    with two.repository.exported(release.source) as tree:
        made = identity(tree, settings.environments, settings.registry, before.version, release.code.inputs)
    claims = {"version": before.version, "image": before.image, "metrics": before.metrics, "identity": made}
    base, head = forged(two, "staging", commit, **claims)
    assert f"names bundle {release.version[:12]}" in proved(two, base, head)


@pytest.mark.parametrize(("lies", "state"), [(True, "failure"), (False, "success")])
def test_report_of_main_s_code_asks_for_the_image(two: Fork, tmp_path: Path, *, lies: bool, state: str) -> None:
    """Where nobody requires the branch's own check, the status that a merge waits for says it."""
    commit = prepared_release(two)
    image_of_another = {"image": earlier(two).image} if lies else {}
    _, head = forged(two, "staging", commit, **image_of_another)
    two.git("push", "-q", "origin", f"{head}:refs/heads/forged")
    with forges.played() as (forge, played, _):
        played.add_pull("forged", sha=head)
        run = played.add_run("gate.yml", head_sha=head)
        found = post(two.context, forge, run["id"], tmp_path / "none", say, Proofs(two.root, expect))
    assert found.state == state
    assert any("holds bundle" in one["body"] for said in played.comments.values() for one in said) is lies


# The held list


def test_held_release_does_not_come_back_without_permission(two: Fork) -> None:
    newest, older = (commit for commit, _ in two.timeline().releases())
    files = two.files(commit=newest)
    rollback(two.context, "staging", older[:12], "slow", PUSH, say)
    base = two.repository.fetch()
    back = {f"{STAGING}/{name}": data for name, data in files.items()}
    assert "is held since" in said(check_change(two.context, base, two.repository.commit(base, back, "back")))
    gone = {**back, f"{STAGING}/{HELD}": None}
    assert "flightline unhold" in said(check_change(two.context, base, two.repository.commit(base, gone, "back")))


def test_line_that_now_holds_something_else_is_a_line_that_went(two: Fork) -> None:
    hold(two.context, "production", two.timeline().identity[:12], "not yet", PUSH, say)
    base = two.repository.fetch()
    path = f"{PRODUCTION}/{HELD}"
    (line,) = read_holds(two.repository.files(base, PRODUCTION)[HELD], HELD)
    other = write_holds((line.model_copy(update={"identity": "e" * 64}),))
    assert "is gone" in said(check_change(two.context, base, two.repository.commit(base, {path: other}, "edited")))


# What is no file


def linked(made: Fork, path: str, mode: str, content: str) -> tuple[str, str]:
    """(base, head) where a path is a link, a submodule or a program."""
    base = made.git("rev-parse", "HEAD")
    made.git("rm", "-rq", "--cached", "--ignore-unmatch", path)
    blob = base if mode == "160000" else made.repository.text("hash-object", "-w", "--stdin", stdin=content.encode())
    made.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
    made.git("commit", "-qm", "linked")
    return base, made.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        (PRODUCTION, "120000"),
        (PRODUCTION, "160000"),
        ("k8s/releases", "120000"),
        ("k8s", "120000"),
        (f"{PRODUCTION}/{MANIFESTS}", "120000"),
        (f"{STAGING}/{MANIFESTS}", "100755"),
        ("k8s/releases/elsewhere", "120000"),
    ],
)
def test_link_that_argo_cd_would_follow_is_refused(two: Fork, path: str, mode: str) -> None:
    base, head = linked(two, path, mode, "staging")
    assert f"mode {mode}" in said(check_change(two.context, base, head))


# What is expected


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        (Expects(released="a" * 64, ks=0.1, max_ks=0.2, rows=100), True),
        (Expects(released="a" * 64, ks=0.105, max_ks=0.195, rows=100), True),  # another machine's last bit
        (Expects(released="a" * 64, ks=0.1, max_ks=0.25, rows=100), False),
        (Expects(released="a" * 64, ks=0.05, max_ks=0.2, rows=100), False),
        (Expects(released="a" * 64, ks=0.1, max_ks=0.2, rows=99), False),
        (Expects(released="b" * 64, ks=0.1, max_ks=0.2, rows=100), False),
        (Expects(released="a" * 64, ks=0.1, max_ks=0.2, rows=100, logged_to=date(2013, 4, 1)), False),
    ],
)
def test_expectations_may_differ_by_rounding_alone(found: Expects, *, accepted: bool) -> None:
    claimed = Expects(released="a" * 64, ks=0.1, max_ks=0.2, rows=100)
    if accepted:
        check_expects(claimed, found)
    else:
        with pytest.raises(ValueError, match="expects"):
            check_expects(claimed, found)
