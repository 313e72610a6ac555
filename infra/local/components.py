"""What the parts of the local cluster share: where its state is, which addresses it uses, and what a component is."""

import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UnavailableError

PROJECT = Path(__file__).resolve().parents[2]
MANIFESTS = Path(__file__).parent / "manifests"

NODE = "flightline-node"
NODE_ADDRESS = "172.31.255.1"
POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_ADDRESS = "10.96.0.1"  # ClusterIP of the Service `kubernetes`: the first of SERVICE_RANGE
DNS_ADDRESS = "10.96.0.10"
DOMAIN = "cluster.local"
API = "https://127.0.0.1:6443"
REGISTRY = "127.0.0.1:5000"


class ClusterError(UnavailableError):
    """The local cluster cannot do what was asked. The message says what is wrong and what to do."""


@dataclass(frozen=True)
class State:
    """The folders and files of one local cluster. Nothing is made by asking for a path."""

    root: Path

    @property
    def bin(self) -> Path:
        """The tools by name: links into the tools' cache."""
        return self.root / "bin"

    @property
    def certificates(self) -> Path:
        """NAME.crt and NAME.key of each identity, and ca.crt."""
        return self.root / "certificates"

    @property
    def config(self) -> Path:
        """Configuration files and kubeconfigs, written anew at each start."""
        return self.root / "config"

    @property
    def data(self) -> Path:
        """What outlives a restart: one folder per component."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """NAME.log of each component and of the supervisor, of the last start."""
        return self.root / "log"

    @property
    def run(self) -> Path:
        """Sockets and what ends with the cluster."""
        return self.root / "run"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; good inside and outside of the cluster's network."""
        return self.root / "kubeconfig"

    @property
    def socket(self) -> Path:
        """Where the supervisor listens for commands."""
        return self.run / "supervisor.sock"

    @property
    def containerd(self) -> Path:
        """The socket of the container runtime."""
        return self.run / "containerd.sock"

    def kubeconfig_of(self, identity: str) -> Path:
        """The kubeconfig of a component that has an identity of its own."""
        return self.config / f"{identity}.kubeconfig"

    def tool(self, name: str) -> str:
        """A tool of the pinned ones, as the first word of a command."""
        return str(self.bin / name)


def link_tools(state: State, names: Sequence[str]) -> None:
    """Name pinned tools in `State.bin`; they are built where this is the first time, which no component could."""
    from pipeline import tools

    state.bin.mkdir(parents=True, exist_ok=True)
    for built in tools.build(names):
        for path in built.folder.iterdir():
            link = state.bin / path.name
            if not link.is_symlink() or link.readlink() != path:
                link.unlink(missing_ok=True)
                link.symlink_to(path)


@dataclass(frozen=True)
class Component:
    """A process of the cluster. `ready` is asked often and answers at once; None is ready once it runs.

    It starts when everything in `after` is ready. Its output goes to `State.log`; nothing restarts it. On stop it gets
    SIGTERM and, `grace` seconds later, SIGKILL. `descriptors` are open files that it inherits.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    after: tuple[str, ...] = ()
    grace: float = 10.0
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kubectl:
    """The pinned kubectl as the administrator: `kubectl("get", "nodes")`. Raises ClusterError where it fails."""

    state: State

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints."""
        command = [self.state.tool("kubectl"), f"--kubeconfig={self.state.kubeconfig}", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or "it said nothing"
            raise ClusterError(f"`kubectl {' '.join(words[:3])}` failed: {said}")
        return done.stdout

    def apply(self, manifests: str) -> None:
        """Apply YAML documents on the server's side, as one field manager."""
        self(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=flightline-local",
            "-f",
            "-",
            stdin=manifests,
        )


def default_state() -> State:
    """The cluster of this user, beside the tools: `$FLIGHTLINE_CACHE/cluster`."""
    from pipeline.tools import cache_folder

    return State(cache_folder() / "cluster")


def direct(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables by which git and Python ask no proxy for what is on this machine, whatever else goes through one."""
    there = [one for name in ("no_proxy", "NO_PROXY") for one in environ.get(name, "").split(",") if one]
    every = ",".join(dict.fromkeys([*there, "127.0.0.1", "localhost"]))
    return {"no_proxy": every, "NO_PROXY": every}


def listens(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """A `ready` that holds once something accepts connections there."""

    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((host, port)) == 0

    return ready


def answers(url: str, certificate: Path | None = None, authority: Path | None = None) -> Callable[[], bool]:
    """A `ready` that holds once the URL answers 200; for TLS the client's certificate (NAME.crt) and the CA's."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1, context=_tls(certificate, authority)) as answer:  # noqa: S310
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
        except (OSError, urllib.error.URLError):
            return False

    return ready


def _tls(certificate: Path | None, authority: Path | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context
