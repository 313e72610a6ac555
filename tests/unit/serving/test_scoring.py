import json
from datetime import UTC, datetime

import numpy as np
import pytest
from onnx import helper, numpy_helper

from serving.bundle import load
from serving.problems import MODEL_ERROR, RefusedError
from serving.scoring import Call, Scorer
from serving.settings import Settings
from tests import bundles

ROW = {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def predict(scorer: Scorer, *rows: object) -> list[dict[str, object]]:
    return json.loads(scorer.answer_now(scorer.predict(json.dumps(rows).encode(), Call("call", 0.0))).body)[
        "predictions"
    ]


def test_the_answer_names_model_and_version(scorer):
    answer = json.loads(scorer.answer_now(scorer.predict(json.dumps(ROW).encode(), Call("call", 0.0))).body)
    assert (answer["model"], answer["version"]) == ("toy", scorer.bundle.version)


def test_scores_are_the_models_own(scorer):
    (row,) = predict(scorer, ROW)
    assert row["score"] == scorer.bundle.golden.scores[0]


def test_the_decision_is_the_score_against_the_threshold(scorer):
    low, high = predict(scorer, ROW | {"temp": -40, "seats": 1, "origin": "EWR"}, ROW)
    assert (low["decision"], high["decision"]) == (False, True)
    assert low["score"] < 0.5 <= high["score"]


def test_without_a_threshold_there_is_no_decision(tmp_path):
    output = bundles.SIGNATURE.output.__class__("probability")
    signature = bundles.SIGNATURE.__class__("toy", "Toy", "regression", bundles.SIGNATURE.inputs, output)
    bundles.write(tmp_path, signature=signature)
    (row,) = predict(Scorer(load(tmp_path), Settings()), ROW)
    assert set(row) == {"id", "score"}


def test_a_row_is_called_what_the_caller_calls_it_else_by_request_and_place(scorer):
    assert [row["id"] for row in predict(scorer, ROW, ROW | {"id": "mine"}, ROW)] == ["call-0", "mine", "call-2"]


def test_a_row_scores_the_same_alone_and_among_others(scorer):
    rows = [ROW | {"temp": float(temp)} for temp in range(-40, 130)]
    together = [row["score"] for row in predict(scorer, *rows)]
    assert together == [predict(scorer, row)[0]["score"] for row in rows]


def test_a_score_that_is_not_finite_is_refused_and_the_row_named(tmp_path):
    body = bundles.graph(bundles.SIGNATURE, [0.01] * 4)
    seven = numpy_helper.from_array(np.array([7 * 0.01 + 7 + 0.02], np.float32), "seven")
    body.graph.initializer.append(seven)
    body.graph.node[3].op_type = "Log"  # of a margin that is negative for a cold row
    body.graph.node[3].CopyFrom(helper.make_node("Log", ["margin"], ["score"]))
    bundles.write(tmp_path, model=body)
    with pytest.raises(RefusedError) as caught:
        predict(Scorer(load(tmp_path), Settings()), ROW, ROW | {"temp": -40.0, "seats": 1})
    assert caught.value.kind == MODEL_ERROR
    assert [one.row for one in caught.value.faults] == [1]


def test_a_line_of_the_log_has_all_that_labels_and_drift_need_and_no_more(scorer):
    answer = scorer.answer_now(scorer.predict(json.dumps(ROW | {"id": "mine", "seats": None}).encode(), Call("c", 0.0)))
    (line,) = [json.loads(line) for line in scorer.lines(answer, NOW, 0.0012345678).splitlines()]
    assert line == {
        "time": "2026-01-02T03:04:05Z",
        "id": "mine",
        "request": "c",
        "model": "toy",
        "version": scorer.bundle.version,
        "features": {"temp": 39.0, "seats": None, "origin": "JFK", "dest": "ORD"},
        "score": answer.scores.tolist()[0],
        "latency": 0.001235,
    }


@pytest.mark.parametrize("rows", [ROW, [ROW, ROW | {"id": "mine"}, ROW]])
def test_a_line_says_what_moment_its_row_is_about_where_the_caller_did(scorer, rows):
    call = Call("c", 0.0, datetime(2013, 4, 1, 12, tzinfo=UTC))
    answer = scorer.answer_now(scorer.predict(json.dumps(rows).encode(), call))
    lines = [json.loads(line) for line in scorer.lines(answer, NOW, 0.0).splitlines()]
    assert [(line["time"], line["event_time"]) for line in lines] == [
        ("2026-01-02T03:04:05Z", "2013-04-01T12:00:00Z")
    ] * (3 if isinstance(rows, list) else 1)


def logged(scorer: Scorer, body: bytes) -> list[dict[str, object]]:
    answer = scorer.answer_now(scorer.predict(body, Call("c", 0.0)))
    return [json.loads(line) for line in scorer.lines(answer, NOW, 0.0).splitlines()]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(ROW).encode(),
        b" \t" + json.dumps([ROW, ROW | {"seats": None}]).encode(),
        json.dumps([ROW, ROW | {"dest": "a\nb\u2028"}], indent=1).encode(),
        json.dumps([ROW, ROW]).replace(", ", ",\r").encode(),
        json.dumps([ROW, ROW | {"id": "mine"}]).encode(),
        json.dumps([ROW]).encode(),
        json.dumps([ROW, ROW], separators=(" ,\t", " :")).encode() + b" \t",
        json.dumps([ROW | {"dest": "a{b"}, ROW, ROW]).encode(),
        json.dumps([ROW | {"dest": "}, {"}, ROW, ROW | {"dest": "}"}]).encode(),
        json.dumps([ROW | {"dest": "%b%"}, ROW | {"dest": "a,b"}, ROW | {"dest": '"'}]).encode(),
    ],
)
def test_however_a_request_is_written_each_row_has_one_line_with_its_features(scorer, body):
    sent = json.loads(body)
    rows = [{name: row[name] for name in ROW} for row in (sent if isinstance(sent, list) else [sent])]
    assert [line["features"] for line in logged(scorer, body)] == rows


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("sent", [{}, {"dest": "a{b%b"}, {"id": "100%"}])
def test_a_line_is_what_an_encoder_would_write_of_the_same_object(scorer, rows, sent):
    body = json.dumps([ROW | sent] * rows, separators=(",", ":")).encode()
    call = Call("c", 0.0, datetime(2013, 4, 1, 12, tzinfo=UTC))
    answer = scorer.answer_now(scorer.predict(body, call))
    lines = [
        {
            "time": "2026-01-02T03:04:05Z",
            "event_time": "2013-04-01T12:00:00Z",
            "request": "c",
            "model": "toy",
            "version": scorer.bundle.version,
            "id": sent.get("id", f"c-{at}"),
            "score": score,
            "features": ROW | {"dest": sent.get("dest", "ORD")},
            "latency": 0.001235,
        }
        for at, score in enumerate(answer.scores.tolist())
    ]
    written = scorer.lines(answer, NOW, 0.0012345678)
    assert written == b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def test_features_are_logged_as_the_caller_wrote_them(scorer):
    body = b'{"seats":1.0, "temp":39.10,"origin":"JFK","dest":"\\u0041TL"}'
    answer = scorer.answer_now(scorer.predict(body, Call("c", 0.0)))
    assert b'"features":' + body in scorer.lines(answer, NOW, 0.0)


@pytest.mark.parametrize("mine", ["a,b", 'q"{}', "two\nlines", "é %b", "-1"])
def test_a_rows_own_id_is_answered_and_logged_whatever_is_in_it(scorer, mine):
    body = json.dumps([ROW, ROW | {"id": mine}]).encode()
    assert [row["id"] for row in predict(scorer, ROW, ROW | {"id": mine})] == ["call-0", mine]
    assert [line["id"] for line in logged(scorer, body)] == ["c-0", mine]


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 3])
def test_answer_and_log_agree_on_each_row(scorer, rows):
    body = json.dumps([ROW | {"temp": temp} for temp in range(rows)]).encode()
    answered = json.loads(scorer.answer_now(scorer.predict(body, Call("c", 0.0))).body)["predictions"]
    lines = logged(scorer, body)
    assert [(row["id"], row["score"]) for row in answered] == [(line["id"], line["score"]) for line in lines]
    assert [(line["id"], line["features"]["temp"]) for line in lines] == [(f"c-{at}", at) for at in range(rows)]


def test_the_log_has_a_share_of_the_requests(scorer):
    sampled = Scorer(scorer.bundle, Settings(log_share=0.25))
    answer = sampled.answer_now(sampled.predict(json.dumps(ROW).encode(), Call("c", 0.0)))
    logged = sum(bool(sampled.lines(answer, NOW, 0.0)) for _ in range(4000))
    assert 800 < logged < 1200
