"""What the standard library has no single word for."""

import shutil
from pathlib import Path


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; what is not there is well."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
