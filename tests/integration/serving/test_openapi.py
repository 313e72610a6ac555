"""The OpenAPI document against the running server: it keeps what it promises and refuses what it forbids."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.servers import running

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# No schema can say that shape and data of a tensor agree, so most of what it allows there is rightly refused.
CONFIG = """
[[operations]]
include-operation-id = "oip_infer"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422"]
"""


def test_the_server_keeps_what_its_document_promises(toy, tmp_path):
    """Examples, boundaries, legal and illegal data: every answer documented, nothing illegal taken, never a 5xx."""
    options = ["--checks", "all", "--mode", "all", "--max-examples", "60", "--seed", "1", "--no-color"]
    phases = ["--phases", "examples,coverage,fuzzing"]
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    with running(toy, max_rows=20) as server:
        run = [SCHEMATHESIS, "--config-file", config, "run", f"{server.url}/openapi.json", *options, *phases]
        done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False)
        assert "failed" not in server.errors, server.errors
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_document_is_made_from_the_signature(server):
    schemas = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    row = schemas["Row"]
    assert schemas["Rows"]["maxItems"] == 10_000
    assert row["required"] == ["temp", "seats", "origin", "dest"]
    assert row["properties"]["temp"]["maximum"] == 130
    assert row["properties"]["seats"]["type"] == ["integer", "null"]
    assert row["properties"]["origin"]["enum"] == ["EWR", "JFK", "LGA"]
    assert row["example"] == {"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}


def test_the_example_of_open_inference_is_answered_with_the_score_of_the_example_row(server):
    document = httpx.get(f"{server.url}/openapi.json").json()
    asked = {
        path: item["post"]["requestBody"]["content"]["application/json"]["example"]
        for path, item in document["paths"].items()
        if "post" in item
    }
    row, tensors = (httpx.post(server.url + path, json=asked[path]) for path in ("/predict", "/v2/models/toy/infer"))
    (score,) = [one["data"][0] for one in tensors.json()["outputs"] if one["name"] == "score"]
    assert score == row.json()["predictions"][0]["score"]
