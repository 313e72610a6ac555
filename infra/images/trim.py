"""Runs inside the build, on the base's own Python: takes out what serving never needs and compiles what is left.

`system` trims the base, `packages DIR` a folder that pip filled, `compile DIR` only compiles. Bytecode is checked by
nobody at run time (`unchecked-hash`): a build may rewrite every file's time, and a read-only root could never store a
fresh copy.
"""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from py_compile import PycInvalidationMode

STDLIB_UNUSED = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo", "config-*")
INSTALLERS = (
    "pip",
    "pip-*",
    "setuptools",
    "setuptools-*",
    "wheel",
    "wheel-*",
    "_distutils_hack",
    "distutils-precedence.pth",
    "pkg_resources",
)
INSTALLER_COMMANDS = ("pip*", "easy_install*", "wheel*", "idle*", "2to3*")
PACKAGES_UNUSED = (
    "**/tests",
    "bin",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/distutils",
    "numpy/f2py",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
)
SYSTEM_UNUSED = (
    "root/.cache",
    "usr/lib/*/gconv",
    "usr/local/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/python-wheels",
    "var/cache/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
# Package managers and the interpreter that only they need; dpkg's own records stay, for scanners.
DEBIAN_UNUSED = ("apt", "libapt-pkg6.0", "libapt-pkg7.0", "perl-base")


def main(command: str, *folders: str) -> None:
    """Do one of the three things the module's docstring names."""
    if command == "system":
        trim_system(Path("/"))
        folders = (sysconfig.get_path("stdlib"),)
    for folder in map(Path, folders):
        if command == "packages":
            remove(folder, PACKAGES_UNUSED)
        compile_all(folder)


def trim_system(root: Path) -> None:
    """Remove installers, unused parts of the standard library, manuals and caches from a base image's file system."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    remove(stdlib, STDLIB_UNUSED)
    for folder in {
        *map(Path, (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))),
        root / "usr/lib/python3/dist-packages",
    }:
        remove(folder, INSTALLERS)
    for folder in (root / "usr/bin", root / "usr/local/bin"):
        remove(folder, INSTALLER_COMMANDS)
    purge(DEBIAN_UNUSED)
    remove(root, SYSTEM_UNUSED)


def purge(names: Iterable[str]) -> None:
    """Have dpkg take these packages out, where they are installed; nothing that serves depends on them."""
    there = [
        name
        for name in names
        if Path(f"/var/lib/dpkg/info/{name}.list").exists() or any(Path("/var/lib/dpkg/info").glob(f"{name}:*.list"))
    ]
    force = ["--force-depends", "--force-remove-essential", "--force-remove-protected"]
    subprocess.run(["dpkg", "--remove", *force, *there], check=True)


def remove(folder: Path, patterns: Iterable[str]) -> None:
    """Delete whatever matches, files and folders alike."""
    for path in [found for pattern in patterns for found in folder.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def compile_all(folder: Path) -> None:
    """Replace all bytecode under `folder` by bytecode that is a function of the source alone."""
    for stale in folder.rglob("__pycache__"):
        shutil.rmtree(stale)
    compileall.compile_dir(
        folder, quiet=2, force=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, workers=os.cpu_count() or 1
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
