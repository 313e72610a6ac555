"""What a reader of a report can rely on, whatever the verdict says."""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from pipeline import report
from pipeline.config import Override
from pipeline.gates.slices import COLUMNS
from pipeline.report import figures
from pipeline.verdict import Check, Curve, Decision, GateResult, Table, Verdict
from tests import verdicts

HOSTILE = "<script>alert(1)</script> | `x` $y$ @everyone #12 https://evil.example [a](b)\nnext"
KINDS = {
    "change": verdicts.verdict,
    "first release": verdicts.first_release,
    "regression": verdicts.regression,
    "inconclusive": verdicts.inconclusive,
}


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def ids(self) -> list[str]:
        return [str(values["id"]) for _, values in self.tags if "id" in values]


def render(verdict: Verdict, out: Path) -> tuple[str, Page]:
    """The Markdown and the page of a verdict."""
    written = report.render(verdict, out)
    return written.markdown.read_text(), Page(written.page.read_text())


@dataclass(frozen=True)
class Rendered:
    """One kind of verdict, rendered once for all tests that only look."""

    verdict: Verdict
    out: Path
    markdown: str
    page: Page

    @property
    def texts(self) -> tuple[str, str]:
        """What a reader sees in either format."""
        return shown(self.markdown), self.page.text


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    every = {}
    for kind, made in KINDS.items():
        out, verdict = tmp_path_factory.mktemp("report"), made()
        every[kind] = Rendered(verdict, out, *render(verdict, out))
    return every


@pytest.fixture(params=KINDS)
def each(request: pytest.FixtureRequest, rendered: dict[str, Rendered]) -> Rendered:
    return rendered[request.param]


def shown(markdown: str) -> str:
    """Markdown as a forge shows it, without tags."""
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    return Page(html).text


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk that is full: a write beyond `size` bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def with_benchmark(**changes: Any) -> Verdict:
    return verdicts.verdict(gates=(verdicts.benchmark().model_copy(update=changes),))


def test_every_check_of_every_gate_appears_with_its_reason_in_both_formats(each: Rendered) -> None:
    for text in each.texts:
        for check in (check for gate in each.verdict.gates for check in gate.checks):
            assert check.name in text
            assert figures.sentence(check.reason) in text


def test_every_cell_of_every_table_is_there(each: Rendered) -> None:
    for text in each.texts:
        for table in (table for gate in each.verdict.gates for table in gate.tables):
            words = {cell for row in table.rows for cell in row if isinstance(cell, str)}
            assert [word for word in {*words, *table.columns} if word not in text] == []


def test_every_curve_is_drawn_with_a_title_axes_and_a_reading(each: Rendered) -> None:
    verdict, page = each.verdict, each.page
    drawn = [chart for gate in verdict.gates for chart in figures.charts(gate, verdict)]
    charts = [one for one in drawn if isinstance(one, figures.Chart)]
    points = sorted(series.curve.name for chart in charts for series in chart.series)
    assert points == sorted(curve.name for gate in verdict.gates for curve in gate.curves)
    for one in drawn:
        svg = (each.out / "plots" / f"{one.name}.svg").read_text()
        assert one.title in page.text
        assert one.x in svg
        assert one.reading in page.text


def test_the_verdict_comes_first_and_says_why_and_what_to_do(rendered: dict[str, Rendered]) -> None:
    one = rendered["change"]
    top = one.markdown.split("<details>")[0]
    assert top.startswith("## ✅ Pass: fit to replace production")
    assert "**Why:** Better by 10 %: -.0508 [-.0831, -.0214]" in top
    assert "**Next:** Merge; main releases it to staging." in top
    assert "| ROC AUC | .7120 | .6910 |" in top
    assert one.page.text.index("Pass: fit to replace production") < one.page.text.index("Headline figures")


def test_the_top_of_the_markdown_fits_a_phone_screen(rendered: dict[str, Rendered]) -> None:
    one = rendered["change"]
    top = one.markdown.split("![")[0].splitlines()
    assert len(top) <= 25
    assert max(line.count("|") for line in top) <= 4


def test_an_inconclusive_verdict_says_what_to_do_and_names_what_did_not_run(rendered: dict[str, Rendered]) -> None:
    one = rendered["inconclusive"]
    for text in one.texts:
        assert "Inconclusive: cannot tell yet" in text
        assert "hold out more days" in text.lower()
        assert "Not shown, because the gate did not get that far: calibration" in text
        assert "This gate was not run." in text


def test_a_first_release_is_held_against_the_baseline_and_says_why_there_is_no_production(
    rendered: dict[str, Rendered],
) -> None:
    one = rendered["first release"]
    for text in one.texts:
        assert "Pass: fit for a first release" in text
        assert "Nothing has been released to production yet." in text
        assert "Loss, candidate minus the constant baseline" in text
        assert "there was no production to compare with" in text
    assert "production" not in (one.out / "plots" / "benchmark-roc.svg").read_text()


def test_a_regression_has_no_roc_and_says_so(rendered: dict[str, Rendered]) -> None:
    one = rendered["regression"]
    assert not (one.out / "plots" / "benchmark-roc.svg").exists()
    assert "they need two classes, and the task is regression" in one.page.text
    assert "Predicted value against what happened" in one.markdown


def test_a_production_out_of_reach_is_not_called_a_baseline(tmp_path: Path) -> None:
    verdict = verdicts.inconclusive().model_copy(update={"production": None, "production_note": "remote is away"})
    _, page = render(verdict, tmp_path)
    assert "baseline" not in page.text
    assert "Remote is away." in page.text


def test_curves_and_tables_nobody_knows_are_shown_all_the_same(tmp_path: Path) -> None:
    curve = Curve(name="a new kind: candidate", x=(0, 1), y=(1, 2), low=(0, 1), high=(2, 3))
    empty = Curve(name="nothing in it", x=(), y=())
    table = Table(name="losses by month", columns=("month", "loss"), rows=(("May", 0.47), (None, float("nan"))))
    markdown, page = render(with_benchmark(curves=(curve, empty), tables=(table,)), tmp_path)
    for text in (shown(markdown), page.text):
        assert "Losses by month" in text
        assert "May" in text
        assert ".4700" in text
        assert "The gate gave no points." in text
    assert "a new kind" in page.text
    assert (tmp_path / "plots" / "benchmark-a-new-kind.svg").is_file()


def test_two_curves_whose_names_make_the_same_file_name_are_both_kept(tmp_path: Path) -> None:
    curves = (Curve(name="A/B", x=(0, 1), y=(1, 2)), Curve(name="A B", x=(0, 1), y=(2, 1)))
    written = report.render(with_benchmark(curves=curves, tables=()), tmp_path)
    assert len({path.name for path in written.plots}) == 3


def hostile() -> Verdict:
    table = verdicts.slices(names={HOSTILE: (HOSTILE, "AA")})
    other = Table(name=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),))
    check = Check(name=HOSTILE, decision=Decision.FAIL, reason=HOSTILE)
    gate = GateResult(
        gate="benchmark",
        decision=Decision.FAIL,
        reason=HOSTILE,
        checks=(*verdicts.benchmark().checks, check),
        inputs={HOSTILE: HOSTILE},
        tables=(table, other),
        curves=(Curve(name=HOSTILE, x=(0, 1), y=(0, 1)),),
    )
    return verdicts.verdict(
        gates=(gate,), reason=HOSTILE, title=HOSTILE, next_step=HOSTILE, production_note=HOSTILE, decision="fail"
    )


def test_text_from_data_cannot_become_markup_of_the_page(tmp_path: Path) -> None:
    _, page = render(hostile(), tmp_path)
    assert {"script", "img", "iframe", "link"} & {tag for tag, _ in page.tags} == set()
    assert page.text.count("<script>alert(1)</script>") > 8


def test_text_from_data_cannot_become_markup_of_the_markdown(tmp_path: Path) -> None:
    markdown, _ = render(hostile(), tmp_path)
    page = Page(MarkdownIt("commonmark").enable("table").render(markdown))
    assert {tag for tag, _ in page.tags} <= set(
        "h2 p strong table thead tbody tr th td details summary img blockquote code".split()
    )
    assert {values["src"] for tag, values in page.tags if tag == "img"} == {
        f"plots/{path.name}" for path in (tmp_path / "plots").iterdir()
    }
    assert page.text.count("<script>alert(1)</script>") > 8
    assert re.search(r"@everyone|(?<!<!-- -->)#12\b|https://", markdown) is None


def test_a_row_of_a_markdown_table_stays_one_row(tmp_path: Path) -> None:
    markdown, _ = render(hostile(), tmp_path)
    for line in markdown.splitlines():
        if line.startswith("| carrier") or ("alert" in line and line.startswith("|")):
            assert line.endswith("|")
            assert len(re.findall(r"(?<!\\)\|", line)) in {2, 3, 4, 6, 12}


def test_the_same_verdict_gives_the_same_bytes(each: Rendered, tmp_path: Path) -> None:
    report.render(Verdict.model_validate_json(each.verdict.model_dump_json()), tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) >= 2
    for name in files:
        assert (each.out / name).read_bytes() == (tmp_path / name).read_bytes()


def test_another_process_with_another_hash_seed_and_style_gives_the_same_bytes(
    rendered: dict[str, Rendered], tmp_path: Path
) -> None:
    first = rendered["change"].out
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: path\nfont.size: 30\nxtick.major.size: 20\n")
    program = "from tests import verdicts; report.render(verdicts.verdict(), Path(sys.argv[1]))"
    run(program, str(tmp_path / "two"), PYTHONHASHSEED="7", MATPLOTLIBRC=str(tmp_path), HOME=str(tmp_path))
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(first)).read_bytes()


def test_the_page_refers_to_nothing_outside_itself(each: Rendered) -> None:
    page, text = each.page, (each.out / "report.html").read_text()
    targets = [
        value for _, values in page.tags for name, value in values.items() if name in {"href", "src", "xlink:href"}
    ]
    assert all(str(target).startswith("#") for target in targets)
    assert re.findall(r"https?://|@import|url\((?!#)", text) == []
    assert "default-src 'none'" in text


def test_ids_of_the_page_are_unique_and_every_reference_is_answered(rendered: dict[str, Rendered]) -> None:
    one = rendered["change"]
    text = (one.out / "report.html").read_text()
    assert len(one.page.ids()) == len(set(one.page.ids()))
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {one or other for one, other in wanted} - set(one.page.ids()) == set()


def test_candidate_and_production_have_the_same_two_colours_in_every_picture(rendered: dict[str, Rendered]) -> None:
    one = rendered["change"]
    for name in ("benchmark-roc", "benchmark-calibration", "differential-scores", "load-latency"):
        svg = (one.out / "plots" / f"{name}.svg").read_text()
        assert "#0072b2" in svg
        assert "#d55e00" in svg
    assert "#0072b2; --production" in (one.out / "report.html").read_text()


def test_slices_that_were_not_judged_are_grey_and_harmed_ones_stand_out(tmp_path: Path) -> None:
    table = verdicts.slices(names={"carrier": ("9E", "AA", "B6", "DL", "OO", "HA")})
    harmed = tuple((*row[:-1], "fail") if row[1] == "AA" else row for row in table.rows)
    verdict = with_benchmark(tables=(table.model_copy(update={"rows": harmed}),))
    forest = next(one for one in figures.charts(verdict.gates[0], verdict) if isinstance(one, figures.Forest))
    kinds = {bar.label: bar.kind for bar in forest.bars}
    assert kinds["AA"] == "harmed"
    assert kinds["9E"] == "judged"
    assert {kinds["OO"], kinds["HA"]} == {"listed"}
    assert [line.at for line in forest.lines] == [pytest.approx(0.03 * 0.5095)]


def test_a_forest_of_very_many_slices_keeps_all_that_were_judged(tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [
        ("dest", f"D{at}", 900, 28, 0.5, 0.5, 0.0, -0.1, 0.1, 1.0, "pass") for at in range(55)
    ]
    rows += [("dest", f"S{at}", 90, 8, 0.5, 0.5, 0.0, None, None, None, "listed") for at in range(40)]
    table = Table(name="slices", columns=COLUMNS, rows=tuple(rows))
    verdict = with_benchmark(tables=(table,))
    forest = next(one for one in figures.charts(verdict.gates[0], verdict) if isinstance(one, figures.Forest))
    assert sum(bar.kind == "judged" for bar in forest.bars) == 55
    assert len(forest.bars) == figures.MOST_SLICES
    assert "35 of the slices listed only are in the table alone" in forest.reading


def test_provenance_names_versions_training_holdout_and_how_often_it_was_looked_at(
    rendered: dict[str, Rendered],
) -> None:
    one = rendered["change"]
    for text in one.texts:
        for wanted in (
            verdicts.CANDIDATE.version,
            verdicts.PRODUCTION.version,
            verdicts.HOLDOUT.id,
            "2013-05-03",
            "104,512",
            "1 release on main was judged by them before",
            "slice_margin",
        ):
            assert wanted in text


def test_an_override_is_shown_with_its_reason_and_its_end(tmp_path: Path) -> None:
    override = Override(
        gate="load", candidate=verdicts.CANDIDATE.version, reason="known slow machine", expires=date(2013, 6, 30)
    )
    gate = verdicts.load().model_copy(update={"decision": Decision.FAIL, "override": override})
    markdown, page = render(verdicts.verdict(gates=(gate,)), tmp_path)
    for text in (shown(markdown.split("![")[0]), page.text):
        assert "Known slow machine." in text
        assert "2013-06-30" in text
        assert "overridden" in text


def test_pictures_of_an_earlier_report_are_removed_and_foreign_files_stay(tmp_path: Path) -> None:
    report.render(verdicts.verdict(), tmp_path)
    (tmp_path / "plots" / "dvc.svg").write_text("<svg/>")
    report.render(verdicts.inconclusive(), tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["dvc.svg"]


def test_the_headline_is_one_line_with_decision_candidate_reason_and_next_step() -> None:
    line = report.headline(verdicts.verdict())
    assert line.startswith("PASS  candidate 3f9a1c27e4b8: better by 10 %")
    assert line.endswith("next: merge; main releases it to staging")


def test_a_terminal_is_given_no_control_characters_and_no_markup() -> None:
    verdict = with_benchmark(reason="\x1b[31mred[/] [bold]x[/bold]\r\nnext").model_copy(
        update={"reason": "a\nb\x1b[0m"}
    )
    console = Console(width=100, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(report.terminal(verdict))
    assert "[31mred[/] [bold]x[/bold] next" in console.export_text()
    assert "\x1b" not in report.headline(verdict)
    assert "\n" not in report.headline(verdict)


def run(program: str, *arguments: str, **environment: str) -> None:
    """Run a program in a fresh interpreter at the top of the repository; it must exit 0."""
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", f"import sys; from pathlib import Path; from pipeline import report; {program}"]
    subprocess.run([*command, *arguments], check=True, cwd=root, env={"PATH": "", **environment})


def test_render_that_fails_half_way_leaves_no_page_old_or_half(tmp_path: Path) -> None:
    """`make run` keeps a page that is there, so there must be none but the whole one of this verdict."""
    size = report.render(verdicts.verdict(), tmp_path).page.stat().st_size
    with no_file_larger_than(size - 1), pytest.raises(OSError, match="File too large"):
        report.render(verdicts.verdict(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plots", "report.md"]
    assert report.render(verdicts.verdict(), tmp_path).page.stat().st_size == size


def test_nothing_but_the_page_is_written_after_the_page(tmp_path: Path) -> None:
    written = report.render(verdicts.verdict(), tmp_path)
    last = written.page.stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns <= last for path in (written.markdown, *written.plots))


def test_the_headline_costs_no_drawing_library() -> None:
    run("sys.exit(bool({'matplotlib', 'jinja2', 'rich.table'} & set(sys.modules)))")


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    run(
        "import matplotlib; from tests import verdicts; before = matplotlib.rcParams.copy(); "
        "report.render(verdicts.verdict(), Path(sys.argv[1])); "
        "assert matplotlib.rcParams.copy() == before; assert 'matplotlib.pyplot' not in sys.modules",
        str(tmp_path),
        HOME=str(tmp_path),
    )
