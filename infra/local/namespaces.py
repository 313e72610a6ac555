"""The cluster's own view of the machine: its network, mounts, processes and cgroups, which end with its supervisor.

Linux only, as root. Nothing is set for the machine as a whole: what a component would write there, it finds written.
"""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from infra.local.components import DNS_ADDRESS, DOMAIN, NODE_ADDRESS, PROJECT, SERVICE_RANGE, ClusterError, State

CGROUP = "/flightline"
CGROUPS = Path("/sys/fs/cgroup")
BRIDGE = "flightline0"
RESOLVER = Path("/etc/resolv.conf")
# Where programs write whatever their configuration says: each gets an empty folder in memory.
PRIVATE = ("/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
# What the kubelet demands of the kernel. It finds these values and leaves the machine's alone.
KERNEL = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
NETWORK = {"ipv4/ip_forward": "1", "bridge/bridge-nf-call-iptables": "1"}
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, which `os` names from Python 3.12 on
_REMOVAL_SECONDS = 10.0


def command(state: State, *words: str) -> list[str]:
    """The supervisor as process 1 of new namespaces; it dies with the `unshare` that waits for it."""
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*own, sys.executable, "-m", "infra.local.supervisor", str(state.root), *words]


def prepare(state: State) -> None:
    """From within: mounts, kernel settings and the node's network."""
    _mounts(state)
    _network()


def enter_network(pid: int) -> None:
    """Move this process into the network of another. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if library.setns(namespace.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"cannot enter the network of process {pid}")


def make_private_folders() -> None:
    """The folders that get a private content must be there to be covered."""
    for folder in PRIVATE:
        Path(folder).mkdir(parents=True, exist_ok=True)


def remove_private_folders() -> None:
    """Remove those that are empty on the machine itself; others had something in them before."""
    for folder in PRIVATE:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def make_cgroups() -> None:
    """The root of the pods' cgroups, in each hierarchy of version 1 or in the one of version 2."""
    for hierarchy in _hierarchies():
        own = hierarchy / CGROUP.strip("/")
        own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / name).is_file() and not (own / name).read_text().strip():
                (own / name).write_text((hierarchy / name).read_text())


def remove_cgroups() -> None:
    """Remove what `make_cgroups` and the kubelet made. Raises ClusterError where processes hold it."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while left := [folder for folder in _cgroup_folders() if not _removed(folder)]:
        if time.monotonic() > deadline:
            raise ClusterError(f"{left[-1]} cannot be removed: its processes {processes()} still run; end them by hand")
        time.sleep(0.05)


def processes() -> list[int]:
    """The processes of pods, as seen from here."""
    found: set[int] = set()
    for folder in _cgroup_folders():
        with contextlib.suppress(OSError):
            found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
    return sorted(found - {0})


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _cgroup_folders() -> list[Path]:
    """Every folder of ours, the innermost first."""
    return [Path(top) for root in _hierarchies() for top, _, _ in os.walk(root / CGROUP.strip("/"), topdown=False)]


def _hierarchies() -> Iterator[Path]:
    """Version 2 is mounted at the top; version 1 in a folder each, of which some are links to others."""
    if (CGROUPS / "cgroup.procs").is_file():
        yield CGROUPS
        return
    yield from (
        path for path in sorted(CGROUPS.iterdir()) if (path / "cgroup.procs").is_file() and not path.is_symlink()
    )


def _mounts(state: State) -> None:
    """A kubelet needs shared mounts; containerd needs them where it keeps the pods' networks before it makes one."""
    _call("mount", "--make-rshared", "/")
    resolver = RESOLVER.resolve()
    for folder in PRIVATE:
        _call("mount", "-t", "tmpfs", "-o", "mode=0755", "flightline", folder)
    networks = Path("/run/netns")
    networks.mkdir()
    _call("mount", "-t", "tmpfs", "-o", "mode=0755", "flightline", str(networks))
    _call("mount", "--make-shared", str(networks))
    for name, value in KERNEL.items():
        _cover(Path("/proc/sys") / name, state.run / "kernel" / name.replace("/", "."), f"{value}\n")
    resolver.parent.mkdir(parents=True, exist_ok=True)
    if not resolver.exists():
        resolver.touch()
    search = f"search svc.{DOMAIN} {DOMAIN}"
    _cover(resolver, state.run / "resolv.conf", f"nameserver {DNS_ADDRESS}\n{search}\noptions ndots:2 timeout:1\n")


def _cover(path: Path, cover: Path, text: str) -> None:
    cover.parent.mkdir(parents=True, exist_ok=True)
    cover.write_text(text)
    _call("mount", "--bind", str(cover), str(path))


def _network() -> None:
    """A bridge holds the node's address: nothing leads out, and an address without a Service ends there."""
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", BRIDGE, "type", "bridge")
    _call("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", BRIDGE)
    _call("ip", "link", "set", BRIDGE, "up")
    _call("ip", "route", "add", SERVICE_RANGE, "dev", BRIDGE, "src", NODE_ADDRESS)
    for name, value in NETWORK.items():
        (Path("/proc/sys/net") / name).write_text(value)


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
