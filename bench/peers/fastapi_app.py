"""FastAPI + ONNX Runtime, as fast as we could make it: pydantic v2, async endpoints, uvicorn with uvloop and httptools.

The answer goes through orjson into a plain response, which measures faster than FastAPI's own serialisation. One row
and many rows have their own endpoints, since a union of the two would slow it down.
"""

import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel

from bench.peers.model import matrix, open_session, row_type

Row = row_type()
SESSION = open_session()
app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """For whoever waits for the start."""
    return {"status": "ok"}


@app.post("/predict")
async def predict(row: Row) -> Response:  # type: ignore[valid-type]
    """One row."""
    return _answer([row])


@app.post("/predict_many")
async def predict_many(rows: list[Row]) -> Response:  # type: ignore[valid-type]
    """Many rows."""
    return _answer(rows)


def _answer(rows: list[BaseModel]) -> Response:
    scores = SESSION.run(["score"], {"rows": matrix(rows)})[0].ravel().tolist()
    predictions = [{"score": score, "decision": score >= 0.5} for score in scores]  # noqa: PLR2004
    return Response(orjson.dumps({"predictions": predictions}), media_type="application/json")
