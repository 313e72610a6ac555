import json
from collections.abc import Sequence
from datetime import date

import pytest

from pipeline.monitoring.endpoint import RefusedError
from pipeline.monitoring.log import LogCounts
from pipeline.monitoring.sink import LOGS, lines, routes, said


def export(*pods: list[str]) -> bytes:
    """As the collector writes it: a resource a pod, with fields that nobody here reads."""
    resources = [
        {
            "resource": {"attributes": [{"key": "k8s.pod.name", "value": {"stringValue": f"pod-{place}"}}]},
            "scopeLogs": [
                {
                    "scope": {},
                    "logRecords": [
                        {"timeUnixNano": "1785542400000000000", "body": {"stringValue": line}} for line in pod
                    ],
                }
            ],
        }
        for place, pod in enumerate(pods)
    ]
    return json.dumps({"resourceLogs": resources}).encode()


def test_lines_come_as_they_were_written_whatever_pod_wrote_them() -> None:
    first, second, third = '{"id": "a", "x": "\u00e9\\n"}', "not JSON", '{"id":"b"}'
    assert lines(export([first, second], [third])) == [first.encode(), second.encode(), third.encode()]


def test_an_empty_request_has_no_lines() -> None:
    assert lines(b"{}") == lines(export()) == lines(export([])) == []


@pytest.mark.parametrize("body", [b"", b"\x0a\x1f\x0a", b"[]", b'{"resourceLogs": 3}'])
def test_what_is_no_export_in_json_is_refused_with_the_way_to_mend_it(body: bytes) -> None:
    with pytest.raises(RefusedError, match="set `encoding: json`") as caught:
        lines(body)
    assert caught.value.status == 400


def test_all_kept_is_an_empty_answer() -> None:
    counts = LogCounts(read=3, kept=2, duplicate=1, days=(date(2013, 4, 1),))
    assert said(counts) == {}


def test_what_was_no_prediction_is_said_as_a_partial_success() -> None:
    answer = said(LogCounts(read=5, kept=2, malformed=1, foreign=2, examples=("line 3: score is missing",)))
    assert answer["partialSuccess"]["rejectedLogRecords"] == "3"
    assert "1 malformed and 2 foreign" in answer["partialSuccess"]["errorMessage"]
    assert "line 3: score is missing" in answer["partialSuccess"]["errorMessage"]


def test_the_path_is_otlps_and_its_work_adds_the_lines() -> None:
    added: list[bytes] = []

    def add(given: Sequence[bytes]) -> LogCounts:
        added.extend(given)
        return LogCounts(read=len(given), kept=len(given))

    assert routes(add)[LOGS](export(['{"id":"a"}'])) == {}
    assert added == [b'{"id":"a"}']
