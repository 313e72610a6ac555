"""The command line where nothing of the model's code can be imported: all that a job with keys may ask for."""

import os
import subprocess
import sys
from pathlib import Path

# What the jobs with keys run, and which test runs each with the code out of reach.
TRIED = {
    "ci receive": "tests/unit/pipeline/test_handover.py",
    "ci restore": "tests/unit/pipeline/test_handover.py",
    "ci remote": "tests/integration/test_keys.py",
    "ci identity": "tests/integration/test_keys.py",
    "ci login": "tests/integration/test_keys.py",
    "ci judged": "tests/integration/test_keys.py",
    "commit-lock": "tests/integration/test_keys.py",
    "release": "tests/integration/test_keys.py",
    "publish": "tests/integration/test_keys.py",
    "rollback": "tests/integration/test_keys.py",
    "comment": "tests/integration/test_keys.py",
    "image ensure": "tests/integration/test_keys.py",
    "gate load": "tests/integration/test_run.py",
    "sign": "tests/unit/pipeline/supply/test_signing.py",
}
_WITHOUT = "import sys; sys.modules['model'] = None; from pipeline.cli import main; main()"


def flightline(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A verb in a checkout; `import model`, or anything below it, is an error there."""
    command = [sys.executable, "-P", "-c", _WITHOUT, *words]
    given = {**os.environ, "FLIGHTLINE_DEBUG": "1", **environment}
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, check=False)


def done(root: Path, *words: str, **environment: str) -> str:
    """The same where it has to succeed; what it printed."""
    found = flightline(root, *words, **environment)
    assert found.returncode == 0, f"{' '.join(words)}: {found.stdout}{found.stderr}"
    return found.stdout
