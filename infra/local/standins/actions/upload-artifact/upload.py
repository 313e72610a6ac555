"""Zip files and hand them to the forge by the protocol that GitHub's own action speaks (artifacts, version 4)."""

import base64
import glob
import io
import json
import os
import sys
import urllib.request
import zipfile
from pathlib import Path


def chosen(patterns: list[str], hidden: bool) -> list[Path]:
    """The files that lines of paths, folders and patterns name; those with a dot in front only where asked for."""
    named = [Path(one) for pattern in patterns for one in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - patterns may be absolute
    files = {file for one in named for file in ([one] if one.is_file() else one.rglob("*")) if file.is_file()}
    return sorted(file for file in files if hidden or not any(part[0] == "." and part != ".." for part in file.parts))


def root(patterns: list[str], files: list[Path]) -> Path:
    """What names in the archive are relative to: the one folder that is named, else the closest that holds all."""
    if len(patterns) == 1 and Path(patterns[0]).is_dir():
        return Path(patterns[0])
    return Path(os.path.commonpath([file.parent for file in files]))


def archive(files: list[Path], top: Path) -> bytes:
    """A zip in memory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as out:
        for file in files:
            out.write(file, file.relative_to(top))
    return content.getvalue()


def send(url: str, body: bytes, method: str = "PUT", **headers: str) -> bytes:
    """What the forge answers."""
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the job's own forge
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return bytes(answer.read())


def call(verb: str, asked: dict[str, object]) -> dict[str, str]:
    """One call of the artifacts' service, as the job."""
    url = f"{os.environ['ACTIONS_RESULTS_URL']}/twirp/github.actions.results.api.v1.ArtifactService/{verb}"
    token = f"Bearer {os.environ['ACTIONS_RUNTIME_TOKEN']}"
    body = json.dumps(asked).encode()
    return dict(json.loads(send(url, body, "POST", **{"Content-Type": "application/json", "Authorization": token})))


def backend() -> dict[str, object]:
    """The run and job that the token is for: its scope says `Actions.Results:RUN:JOB`."""
    payload = os.environ["ACTIONS_RUNTIME_TOKEN"].split(".")[1]
    scopes = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["scp"].split()
    run, job = next(one for one in scopes if one.startswith("Actions.Results:")).split(":")[1:]
    return {"workflow_run_backend_id": run, "workflow_job_run_backend_id": job}


def main() -> int:
    """Upload what PATHS names as NAME."""
    patterns = [line.strip() for line in os.environ["PATHS"].splitlines() if line.strip()]
    files = chosen(patterns, os.environ["HIDDEN"] == "true")
    if not files:
        print(f"no file at {', '.join(patterns)}")
        return 1 if os.environ["MISSING"] == "error" else 0
    content, whose = archive(files, root(patterns, files)), {**backend(), "name": os.environ["NAME"]}
    made = call("CreateArtifact", {**whose, "version": 4})
    url = made.get("signedUploadUrl") or made["signed_upload_url"]
    send(f"{url}&comp=appendBlock", content)
    call("FinalizeArtifact", {**whose, "size": str(len(content))})
    print(f"{os.environ['NAME']}: {len(files)} files, {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
