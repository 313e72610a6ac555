#!/usr/bin/env python3
"""doctor: what is missing on this machine, what it is for and how to get it.

Runs before anything is installed, with whatever Python there is: standard library only, and no syntax newer than 3.6.
"""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys

FREE_GIGABYTES = 4
PORT = 8000
GO = (1, 26)
# A program of each Debian package that the local cluster needs, as infra/local/cluster.py has them; a test compares.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "catatonit": "catatonit",
    "busybox": "busybox-static",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "git": "git",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "redis-server": "redis-server",
}


def tool(*names):
    """Whether any of these programs is on PATH."""
    return any(map(shutil.which, names))


def port_is_free():
    """Whether `make run` can listen where it does by default."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return False
    return True


def go_version():
    """(major, minor) of the Go on PATH, None without one that answers."""
    try:
        said = subprocess.check_output(["go", "version"], stderr=subprocess.DEVNULL, universal_newlines=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(found.group(1)), int(found.group(2))) if found else None


def lacking_packages():
    """The Debian packages that the local cluster needs and that are not here."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return sorted({package for program, package in PACKAGES.items() if not shutil.which(program, path=search)})


def to_run_a_cluster():
    """What makes this machine one that can run the local cluster."""
    packages = lacking_packages()
    return "as root" + (", after apt-get install " + " ".join(packages) if packages else "") + "; or Docker and kind"


def checks():
    """(required, is it there, what, what for, how to get it) for everything this project may want."""
    packages = "apt-get install {0}, dnf install {0} or brew install {0}".format
    found = "{}.{}".format(*sys.version_info[:2])
    go = go_version()
    cluster = (os.geteuid() == 0 and not lacking_packages()) or (tool("docker") and tool("kind"))
    return [
        (True, sys.version_info >= (3, 11), "Python >= 3.11 (this is " + found + ")", "everything",
         "install one and run `make PYTHON=python3.12 ...`"),
        (True, importlib.util.find_spec("ensurepip") is not None, "Python's venv module", "the environment in .venv",
         "apt-get install python3-venv"),
        (True, tool("git"), "git", "DVC, and what production is", packages("git")),
        (True, tool("make"), "make", "every target", packages("make")),
        (True, shutil.disk_usage(".").free > FREE_GIGABYTES * 1e9, "%d GB of free disk" % FREE_GIGABYTES,
         "packages and data", "free some, or clone to another disk"),
        (False, port_is_free(), "port %d free" % PORT, "`make run`", "`PORT=8001 make run`"),
        (False, tool("docker", "buildah", "podman"), "docker, buildah or podman", "`make image`", packages("buildah")),
        (False, go is not None and go >= GO, "Go >= %d.%d" % GO, "releases, `make validate`, `make cluster-up`",
         "install it from https://go.dev/dl"),
        (False, cluster, "root and the cluster's packages", "`make cluster-up`, `make e2e`", to_run_a_cluster()),
        (False, tool("gcc"), "gcc (and libc6-dev)", "`make forge-up`", packages("gcc libc6-dev")),
        (False, tool("wrk"), "wrk", "`make bench`", packages("wrk")),
    ]  # fmt: skip


def main():
    """Print a line per check; exit 1 where something required is missing."""
    quiet = "--required" in sys.argv[1:]
    lacking = 0
    for required, there, what, purpose, how in checks():
        lacking += required and not there
        mark = "ok     " if there else "MISSING" if required else "absent "
        if not quiet or (required and not there):
            print("{}  {:<32} for {}{}".format(mark, what, purpose, "" if there else "; " + how))
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
