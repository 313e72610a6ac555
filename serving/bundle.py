"""The bundle: a folder of plain files that is all a server needs. Read here, verified here, named here.

`SHA256SUMS` lists every other file, sorted, in the format of sha256sum(1), so `sha256sum -c SHA256SUMS` checks a bundle
by hand. The bundle's version is the hash of that list. Nothing in it is a pickle, and nothing in it names a commit, a
time, a host or a run: a cached bundle cannot lie about where it came from.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.signature import Signature, encode

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = 1
SUMS = "SHA256SUMS"
MEMBERS = (
    "MODEL_CARD.md",
    "golden.json",
    "inputs.json",
    "metrics.json",
    "model.onnx",
    "reference.json",
    "signature.json",
)
GRAPH_INPUT, GRAPH_OUTPUT = "rows", "score"
TOLERANCE = 1e-5


class BundleError(Exception):
    """A bundle that must not be served. The message names the file, what is wrong with it and what to do."""


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Synthetic rows within the schema (column name -> values) and the scores the model gave them."""

    rows: dict[str, list[Any]]
    scores: list[float]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle with its session open: `score` is the only way a model is ever asked."""

    path: Path
    version: str
    signature: Signature
    golden: Golden
    session: "InferenceSession"

    def score(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of an encoded matrix: float32 (rows, inputs) -> float32 (rows,)."""
        return run(self.session, rows)


def run(session: "InferenceSession", rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores that a session on a bundle's graph gives: float32 (rows, inputs) -> float32 (rows,)."""
    scores: NDArray[np.float32] = session.run([GRAPH_OUTPUT], {GRAPH_INPUT: rows})[0]
    return scores.reshape(-1)


def seal(path: Path) -> str:
    """Write `SHA256SUMS` over the bundle's files and return the version."""
    (path / SUMS).write_text(_listing(path))
    return version(path)


def version(path: Path) -> str:
    """The bundle's name: the SHA-256 of its `SHA256SUMS`, in hex."""
    return hashlib.sha256((path / SUMS).read_bytes()).hexdigest()


def load(path: Path, *, expected: str | None = None, threads: int = 1) -> Bundle:
    """Open a bundle after proving it whole: hashes, format, signature and golden scores. Raises BundleError.

    `expected` is the version the caller was told to serve, where it was told one. `threads` is ONNX Runtime's
    intra-op thread count: one, because a server scales by processes.
    """
    check_files(path, expected)
    signature = _read(path / "signature.json", Signature)
    session = open_session(path / "model.onnx", threads)
    _check_metadata(path, session)
    _check_shape(path, session, signature)
    bundle = Bundle(path, version(path), signature, _read(path / "golden.json", Golden), session)
    check_golden(bundle)
    return bundle


def check_files(path: Path, expected: str | None = None) -> None:
    """Raise BundleError unless the files are exactly a bundle's and each hashes to what `SHA256SUMS` says."""
    if not (path / SUMS).is_file():
        raise BundleError(f"{path}: no {SUMS}; is this a bundle? `make bundle` writes one to build/bundle")
    listed, there = _listed(path), {each.name for each in path.iterdir()}
    for name in sorted({*MEMBERS, *listed, *there} - {SUMS}):
        if name not in MEMBERS:
            raise BundleError(f"{path}: {name!r} does not belong to a bundle of format {FORMAT}; remove it, or update")
        if name not in there or name not in listed:
            raise BundleError(f"{path}: {name} is missing; restore the bundle with `dvc checkout` or `make bundle`")
        if listed[name] != sha256(path / name):
            raise BundleError(f"{path}: {name} does not match its hash in {SUMS}; it was changed after it was sealed")
    if expected is not None and version(path) != expected:
        raise BundleError(f"{path}: this is bundle {version(path)[:12]}, but {expected[:12]} was to be served")


def check_golden(bundle: Bundle) -> None:
    """Score the golden rows; raise BundleError where a score is not what it was when the bundle was made.

    Scores above one are compared relative to their size, as float32 is.
    """
    wanted = np.asarray(bundle.golden.scores, dtype=np.float64)
    try:
        found = bundle.score(encode(bundle.signature, bundle.golden.rows))
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise BundleError(f"{bundle.path}: golden.json does not fit signature.json ({why}); rebuild it") from error
    if found.shape != wanted.shape:
        raise BundleError(f"{bundle.path}: golden scores do not match: {len(wanted)} of them for {len(found)} rows")
    difference = np.abs(found - wanted) / np.maximum(1, np.abs(wanted))
    if not (difference <= TOLERANCE).all():
        raise BundleError(
            f"{bundle.path}: golden scores do not match model.onnx (largest difference "
            f"{np.nanmax(difference, initial=0):.2g}, allowed {TOLERANCE}); model or runtime is not the one bundled"
        )


def _listed(path: Path) -> dict[str, str]:
    """File name -> hash, as `SHA256SUMS` says."""
    lines = (line.partition("  ") for line in (path / SUMS).read_text(errors="replace").splitlines())
    return {name: digest for digest, _, name in lines}


def _listing(path: Path) -> str:
    return "".join(f"{sha256(path / name)}  {name}\n" for name in sorted(MEMBERS))


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path}: {error}; a newer Flightline may have written it") from error


def open_session(path: Path, threads: int = 1) -> "InferenceSession":
    """A CPU session on one graph, with its threads set. Raises BundleError where ONNX Runtime refuses it."""
    # Since 1.29 the Linux wheels report to their maker unless told not to before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class per status code, with no common base
        raise BundleError(f"{path}: ONNX Runtime cannot open it: {error}") from error


def _check_metadata(path: Path, session: "InferenceSession") -> None:
    """The graph carries the format it was written in and the hash of the signature it was made for."""
    metadata = session.get_modelmeta().custom_metadata_map
    written = metadata.get("format", "none")
    if not written.isdecimal():
        raise BundleError(f"{path}: bundle format {written!r} was never written by Flightline; rebuild the bundle")
    if int(written) > FORMAT:
        raise BundleError(
            f"{path}: bundle format {written} is newer than {FORMAT}, the newest this server reads; update it"
        )
    if metadata.get("signature") != sha256(path / "signature.json"):
        raise BundleError(
            f"{path}: signature.json belongs to another model than model.onnx; rebuild with `make bundle`"
        )


def _check_shape(path: Path, session: "InferenceSession", signature: Signature) -> None:
    (graph_input,) = session.get_inputs()
    names = [graph_input.name, *(output.name for output in session.get_outputs())]
    if names != [GRAPH_INPUT, GRAPH_OUTPUT] or graph_input.shape[1] != len(signature.inputs):
        raise BundleError(
            f"{path}: model.onnx takes {names[0]} {graph_input.shape} -> {names[1:]}; the signature wants "
            f"{GRAPH_INPUT} of width {len(signature.inputs)} -> ['{GRAPH_OUTPUT}']"
        )
