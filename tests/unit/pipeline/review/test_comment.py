"""The comment as a reviewer sees it: on a phone, without pictures, and with text that means harm."""

import re

import pytest
from markdown_it import MarkdownIt

from pipeline.report.document import document
from pipeline.review import comment
from pipeline.review.artifact import Artifact, ArtifactError
from pipeline.review.models import Figure, Output, Setting
from pipeline.review.parts import MOST_ROWS
from pipeline.review.report import Report, report
from pipeline.verdict import Check, Decision, Table, Verdict
from tests import verdicts
from tests.unit.pipeline.review import reviews
from tests.unit.pipeline.review.reviews import evidence, known, verdict

RUN = "https://forge.example/acme/model/actions/runs/7"
HOSTILE = (
    "</summary></details><script>alert(1)</script> @everyone #12 ![x](https://evil.example/p.png) | `y`\n# Approved"
)
MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
CASES = {
    "pass": verdict,
    "fail": reviews.harmed,
    "inconclusive": lambda: reviews.blocked("benchmark", Decision.INCONCLUSIVE, "too few days"),
    "cold start": reviews.first_release,
}


def of(judged: Verdict, **changes: object) -> Report:
    return report(known(judged, **changes), Artifact(evidence(judged), judged))


def addresses(judged: Verdict) -> dict[str, str]:
    return {one.name: f"https://forge.example/raw/{one.name}.png" for one in document(judged).pictures}


def written(judged: Verdict, *, pictures: bool = True) -> str:
    return comment.text(of(judged), addresses(judged) if pictures else {}, RUN)


def tags(markdown: str) -> set[str]:
    return set(re.findall(r"</?([a-z0-9]+)", re.sub(r"<!--.*?-->", "", MARKDOWN.render(markdown))))


@pytest.mark.parametrize("case", CASES)
def test_marker_then_verdict_then_reason_then_what_to_do(case: str) -> None:
    judged = CASES[case]()
    text = written(judged)
    assert text.startswith(f"{comment.MARKER}\n## ")
    places = [text.index(part) for part in ("## ", "**Next:**", "<details>")]
    assert places == sorted(places)


@pytest.mark.parametrize("case", CASES)
def test_top_fits_a_phone(case: str) -> None:
    top = written(CASES[case]()).partition("<details>")[0].splitlines()
    assert len(top) <= 20
    rows = [line for line in top if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert all(line.count("|") == 4 and len(line) <= 48 for line in rows)


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_there_without_pictures(case: str) -> None:
    judged = CASES[case]()
    with_, without = written(judged), written(judged, pictures=False)
    assert "<img" in with_
    assert "<img" not in without
    for name in ("mean loss", "ROC AUC", "latency p95, ms"):
        assert f"| {name} |" in without
    tables = [line for line in with_.splitlines() if line.startswith("|")]
    assert tables == [line for line in without.splitlines() if line.startswith("|")]


def test_parts_say_their_answer_and_stand_in_order() -> None:
    text = written(reviews.harmed())
    titles = re.findall(r"<summary><b>(.*?)</b>", text)
    assert titles == [
        "Metrics, intervals and power",
        "Slices",
        "Decisions that flip",
        "Latency and load",
        "Curves",
        "Is the data sound?",
        "Data and outputs",
        "Parameters and files changed",
        "Provenance",
    ]
    assert "<summary><b>Slices</b>: ❌ harm beyond .0153 in 1 of 19 slices" in text
    assert "**Power.** This holdout resolves ±.0309." in text


def test_harmed_slices_come_first_and_small_ones_last() -> None:
    text = written(reviews.harmed())
    rows = [line for line in text.partition("**Worst first**")[2].partition("</details>")[0].splitlines() if line][2:]
    assert rows[0].startswith("| ❌ carrier DL | .1000 | [.0500, .1500] |")
    marks = [row.split()[1] for row in rows]
    assert set(marks) == {"❌", "✅", "·"}
    assert marks == sorted(marks, key=["❌", "✅", "·"].index)


def test_what_is_not_known_to_be_true_is_said_to_be_the_run_s() -> None:
    text = written(verdict())
    assert "as the pull request's own run reports them for a1a1a1a1a1a1" in text
    assert "Main puts what is merged before the gates again" in text
    assert f'<a href="{RUN}">The run</a>' in text


def hostile() -> Verdict:
    """Foreign text wherever a verdict has room for text."""
    checks = (
        Check(name="loss", decision=Decision.PASS, reason=HOSTILE, statistic=0.1, interval=(0.0, 0.2)),
        Check(name="slices", decision=Decision.PASS, reason=HOSTILE),
        Check(name=f"{HOSTILE}, candidate", decision=None, reason=HOSTILE, statistic=1.0),
    )
    curve = verdicts.benchmark().curves[0].model_copy(update={"name": f'{HOSTILE}" onerror="alert(1)'})
    slices = verdicts.slices(names={HOSTILE: (HOSTILE, "b")})
    table = Table(name=HOSTILE, columns=(HOSTILE, "x"), rows=((HOSTILE, 1.0),))
    bench = verdicts.benchmark().model_copy(
        update={"checks": checks, "reason": HOSTILE, "curves": (curve,), "tables": (slices, table)}
    )
    data = verdicts.data().model_copy(update={"tables": (table,), "reason": HOSTILE})
    candidate = verdicts.CANDIDATE.model_copy(update={"estimator": HOSTILE, "rule": {HOSTILE: HOSTILE}})
    return verdict(
        candidate=candidate, title=HOSTILE, reason=HOSTILE, next_step=HOSTILE, production_note=HOSTILE,
        gates=(data, bench, verdicts.differential(), verdicts.load()),
    )  # fmt: skip


def test_foreign_text_becomes_neither_markup_nor_mention_nor_picture() -> None:
    judged = hostile()
    said = evidence(
        judged,
        metrics=(Figure(name=HOSTILE[:160], base=1.0, head=2.0),),
        data=(Output(path=HOSTILE[:160], base=None, head=None),),
        notes=(HOSTILE,),
    )
    params = (Setting(name=f"gates.{HOSTILE}"[:160], base=HOSTILE, head=None),)
    seen = known(judged, params=params, files=(HOSTILE, f"pipeline/gates/{HOSTILE}"), fork=HOSTILE)
    text = comment.text(report(seen, Artifact(said, judged)), addresses(judged), RUN)
    shown = MARKDOWN.render(text)
    ours = {"a", "b", "blockquote", "code", "details", "h2", "img", "p", "strong", "sub", "summary"}
    ours |= {"table", "thead", "tbody", "tr", "th", "td"}
    assert tags(text) <= ours
    assert text.count("<details>") == text.count("</details>")
    assert shown.count("<h2>") == 1
    assert not re.search(r"@\w|#\w|(?<!&)#1", re.sub(r'<a href="[^"]*"|src="[^"]*"|&#x?\w+;', "", text))
    assert all(src.startswith("https://forge.example/raw/") for src in re.findall(r'<img[^>]*src="([^"]*)"', shown))
    assert not re.search(r"<img[^>]*onerror=\"", shown)
    assert "evil.example" not in re.sub(r":<!-- -->//", "", "".join(re.findall(r'(?:href|src)="[^"]*"', shown)))


def test_foreign_text_of_what_cannot_be_used_is_escaped_too() -> None:
    text = comment.text(report(known(fork=HOSTILE, refused=(HOSTILE,)), ArtifactError(HOSTILE)), {}, RUN)
    assert "script" not in tags(text)
    text = comment.text(report(known(), ArtifactError(HOSTILE)), {}, RUN)
    assert "script" not in tags(text)


def test_very_long_tables_are_cut_and_say_so() -> None:
    rows = tuple((f"x{at}", 1.0) for at in range(300))
    gate = verdicts.data().model_copy(update={"tables": (Table(name="many", columns=("a", "b"), rows=rows),)})
    text = written(verdict(gates=(gate, *verdict().gates[1:])))
    assert f"Many ({300 - MOST_ROWS} more rows are left out)" in text
    assert f"| x{MOST_ROWS - 1} |" in text
    assert f"| x{MOST_ROWS} |" not in text


def test_comment_never_exceeds_what_a_forge_takes() -> None:
    wide = tuple(f"column {at} {'w' * 100}" for at in range(30))
    rows = tuple(tuple("c" * 150 for _ in wide) for _ in range(40))
    tables = tuple(Table(name=f"t{at}", columns=wide, rows=rows) for at in range(3))
    gates = tuple(one.model_copy(update={"tables": tables}) for one in verdict().gates)
    text = written(verdict(gates=gates))
    assert len(text) < 65_536
    assert "Tables are left out: the comment would be too long." in text
    assert text.rstrip().endswith("</sub>")
    assert "<b>Provenance</b>" in text


@pytest.mark.parametrize("case", CASES)
def test_real_comment_is_far_from_the_limit(case: str) -> None:
    assert len(written(CASES[case]())) < 30_000


def test_same_run_gives_the_same_comment() -> None:
    assert written(verdict()) == written(verdict())
