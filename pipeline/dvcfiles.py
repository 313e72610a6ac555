"""What DVC calls things, computed without DVC: cheap to import, and a check on what a remote hands back."""

import hashlib
import json
from pathlib import Path


def dvc_hash(folder: Path) -> str:
    """What DVC calls a folder: the MD5 of its list of files, as dvc.lock and *.dvc files record it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [{"md5": md5(path.read_bytes()), "relpath": path.relative_to(folder).as_posix()} for path in files]
    return f"{md5(json.dumps(entries, sort_keys=True).encode())}.dir"


def md5(content: bytes) -> str:
    """DVC's name for a file's content; a name, not a proof against an attacker."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
