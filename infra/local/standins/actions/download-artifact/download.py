"""Fetch an artifact of a run, this one's or another's, and unpack it."""

import io
import json
import os
import sys
import urllib.error
import urllib.request
import zipfile


def get(url: str) -> bytes:
    """What is there, with the token that was given."""
    headers = {"Authorization": f"token {os.environ['TOKEN']}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the job's own forge
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return bytes(answer.read())


def main() -> None:
    """Unpack NAME of RUN into FOLDER."""
    name, run = os.environ["NAME"], os.environ["RUN"]
    api = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['REPOSITORY']}/actions"
    try:
        listed = json.loads(get(f"{api}/runs/{run}/artifacts?limit=50"))["artifacts"] or []
        found = [one["id"] for one in listed if one["name"] == name]
        content = get(f"{api}/artifacts/{found[-1]}/zip") if found else None
    except urllib.error.HTTPError as error:
        sys.exit(f"the forge answered {error.code} to {error.url}")
    if content is None:
        sys.exit(f"run {run} has no artifact {name!r}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(os.environ["FOLDER"])
        print(f"{name} of run {run}: {len(archive.namelist())} files")


if __name__ == "__main__":
    main()
