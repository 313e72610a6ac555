"""Objects against the strict schemas in infra/schemas, by kubeconform, without a network."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UnavailableError
from pipeline.tools import tool
from pipeline.validate import sources
from pipeline.validate.renders import Document, written
from pipeline.validate.results import Result, grouped, said, several

NAME = "schemas"


def check(root: Path, documents: Sequence[Document], scratch: Path) -> Result:
    """Every object has a schema and follows it to the letter. Raises UnavailableError where there is no kubeconform."""
    files = {str(path): document for path, document in written(documents, scratch, _text)}
    answer = _kubeconform(root / sources.FOLDER, scratch) if files else {"resources": []}
    failures = grouped(_failures(answer["resources"], files, root))
    kinds = {(one.body.get("apiVersion"), one.body.get("kind")) for one in documents}
    return Result(NAME, f"{several(len(documents), 'object')} of {several(len(kinds), 'kind')}", failures)


def _text(document: Document) -> str:
    """As it was written where that is known: what is parsed has lost the first of two equal keys."""
    return document.text or yaml.dump(document.body, Dumper=yaml.CSafeDumper)


def _kubeconform(schemas: Path, folder: Path) -> Any:
    location = f"{schemas.resolve()}/{sources.PATTERN}"
    binary = tool("kubeconform")
    command = [str(binary), "-strict", "-output", "json", "-schema-location", location, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
        return json.loads(done.stdout)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"kubeconform failed: {error}; remove {binary.parent} and run again") from error


def _failures(
    resources: Sequence[Mapping[str, str]], files: Mapping[str, Document], root: Path
) -> Iterator[tuple[str, str]]:
    for one in sorted(resources, key=itemgetter("filename")):
        document = files[one["filename"]]
        yield document.where, f"{document.name}: {_reason(one, root)}"


def _reason(answer: Mapping[str, str], root: Path) -> str:
    message = said(answer["msg"], root.resolve())
    if answer["status"] == "statusError" and "could not find schema" in message:
        return f"{message}; add the kind to {sources.SOURCES} and run `flightline schemas`"
    return message.partition("jsonschema validation failed with ")[2] or message
