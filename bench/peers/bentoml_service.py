"""BentoML + ONNX Runtime, as its documentation starts: a service with one worker, a synchronous API, its defaults."""

from typing import Any

import bentoml

from bench.peers.model import matrix, open_session, row_type

Row = row_type()


@bentoml.service(workers=1)
class Predictor:
    """One row, validated by the same pydantic model as FastAPI's."""

    def __init__(self) -> None:
        self._session = open_session()

    @bentoml.api
    def predict(self, row: Row) -> dict[str, Any]:  # type: ignore[valid-type]
        """Score it."""
        (score,) = self._session.run(["score"], {"rows": matrix([row])})[0].ravel().tolist()
        return {"predictions": [{"score": score, "decision": score >= 0.5}]}  # noqa: PLR2004
