"""Programs written in Go that the project runs, built once from modules pinned by hash under `infra/tools/`.

A folder there is one tool: its `go.mod` says the version, its `go.sum` the hash of every module. What is built is kept
in `$FLIGHTLINE_CACHE/tools/NAME/KEY` (`~/.cache/flightline` where that is not set); KEY changes with the folder and Go.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import ConfigError, Frozen
from pipeline.errors import UnavailableError
from pipeline.progress import progress
from pipeline.text import plain

SOURCES = Path(__file__).parents[1] / "infra" / "tools"
SECONDS_BETWEEN_LINES = 5.0

Say = Callable[[str], None]

_SCRATCH = ".building-"
_ARGO_STAMPS = ("gitTag={version}", "gitCommit=unknown", "gitTreeState=clean")
_KUBERNETES_STAMPS = (
    "gitVersion={version}",
    "gitMajor={major}",
    "gitMinor={minor}",
    "gitCommit=unknown",
    "gitTreeState=clean",
)


class Tool(Frozen):
    """Pinned programs. `module` is where their version comes from; `programs` says which package each is compiled from.

    `links` are further names of the first program, which looks at the name it is called by. `stamps` are the variables
    that the linker sets so that it knows its version. `tags` choose among its files; `cgo` is for one that is partly
    written in C. `gigabytes` is what a build with empty Go caches fills.
    """

    name: str
    module: str
    programs: dict[str, str]
    links: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    cgo: bool = False
    gigabytes: float
    purpose: str

    @property
    def first(self) -> str:
        """The program that a tool's own name and its links stand for."""
        return next(iter(self.programs))

    @property
    def names(self) -> tuple[str, ...]:
        """Every file that a build makes."""
        return (*self.programs, *self.links)


class Built(Frozen):
    """A tool that is there: its folder of programs, and the seconds that building took (0 where it was there)."""

    name: str
    version: str
    folder: Path
    seconds: float


def _stamps(package: str, stamps: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{package}.{stamp}" for stamp in stamps)


TOOLS = (
    Tool(
        name="kustomize",
        module="sigs.k8s.io/kustomize/kustomize/v5",
        programs={"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
        stamps=("sigs.k8s.io/kustomize/api/provenance.version={version}",),
        gigabytes=0.5,
        purpose="renders the manifests of a release",
    ),
    Tool(
        name="kubeconform",
        module="github.com/yannh/kubeconform",
        programs={"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
        stamps=("main.version={version}",),
        gigabytes=0.5,
        purpose="checks manifests against the schemas of their kinds",
    ),
    Tool(
        name="cosign",
        module="github.com/sigstore/cosign/v3",
        programs={"cosign": "github.com/sigstore/cosign/v3/cmd/cosign"},
        stamps=("sigs.k8s.io/release-utils/version.gitVersion={version}",),
        gigabytes=3,
        purpose="signs images and checks their signatures",
    ),
    Tool(
        name="actionlint",
        module="github.com/rhysd/actionlint",
        programs={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
        stamps=("github.com/rhysd/actionlint.version={version}",),
        gigabytes=0.5,
        purpose="checks the workflows",
    ),
    Tool(
        name="kubernetes",
        module="k8s.io/kubernetes",
        programs={
            "kubernetes": "flightline.local/tools/kubernetes",
            "etcd": "go.etcd.io/etcd/server/v3",
            "coredns": "flightline.local/tools/kubernetes/coredns",
        },
        links=(
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubelet",
            "kubectl",
        ),
        stamps=_stamps("k8s.io/component-base/version", _KUBERNETES_STAMPS)
        + _stamps("k8s.io/client-go/pkg/version", _KUBERNETES_STAMPS),
        gigabytes=5,
        purpose="the local cluster, with etcd and CoreDNS",
    ),
    Tool(
        name="argo-cd",
        module="github.com/argoproj/argo-cd/v3",
        programs={"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
        links=(
            "argocd-server",
            "argocd-application-controller",
            "argocd-repo-server",
            "argocd-applicationset-controller",
            "argocd-notifications",
        ),
        stamps=_stamps("github.com/argoproj/argo-cd/v3/common", _ARGO_STAMPS),
        gigabytes=6,
        purpose="syncs releases to the local cluster",
    ),
    Tool(
        name="argo-rollouts",
        module="github.com/argoproj/argo-rollouts",
        programs={"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
        stamps=_stamps("github.com/argoproj/argo-rollouts/utils/version", _ARGO_STAMPS),
        gigabytes=5,
        purpose="shifts traffic and analyses canaries on the local cluster",
    ),
    Tool(
        name="metrics-server",
        module="sigs.k8s.io/metrics-server",
        programs={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
        stamps=_stamps("k8s.io/component-base/version", _KUBERNETES_STAMPS),
        gigabytes=3,
        purpose="feeds the autoscaler of the local cluster",
    ),
    Tool(
        name="versitygw",
        module="github.com/versity/versitygw",
        programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
        stamps=("main.Version={version}",),
        gigabytes=3,
        purpose="an object store on this machine, for tests",
    ),
    Tool(
        name="otel-collector",
        module="go.opentelemetry.io/collector/otelcol",
        programs={"otel-collector": "flightline.local/tools/otel-collector"},
        stamps=("main.version={version}",),
        gigabytes=2,
        purpose="ships the prediction log",
    ),
    Tool(
        name="gitea",
        module="code.gitea.io/gitea",
        programs={"gitea": "code.gitea.io/gitea"},
        stamps=("main.Version={version}",),
        tags=("sqlite", "sqlite_unlock_notify"),
        cgo=True,
        gigabytes=4,
        purpose="the local forge",
    ),
    Tool(
        name="forge-runner",
        module="gitea.com/gitea/runner",
        programs={"gitea-runner": "gitea.com/gitea/runner/flightline"},
        stamps=("gitea.com/gitea/runner/internal/pkg/ver.version={version}",),
        gigabytes=1,
        purpose="runs workflows for the local forge",
    ),
)


def tool(name: str, say: Say | None = None) -> Path:
    """The pinned program of that name (a tool's or one of its links), built now where it is not there yet.

    Without `say`, building shows its own progress. Raises ConfigError for an unknown name, UnavailableError where it
    cannot be built.
    """
    return Workshop().tool(name, say)


def build(names: Sequence[str] = (), say: Say | None = None) -> list[Built]:
    """Have the tools of these names ready, all of them where none is named. Raises ConfigError, UnavailableError."""
    workshop = Workshop()
    return [workshop.build(workshop.find(name), say) for name in names or [one.name for one in workshop.tools]]


def module_folder(name: str) -> Path:
    """Where Go keeps the sources of a tool's module, manifests among them; read-only. Raises as `tool` does."""
    return Workshop().module_folder(name)


def cache_folder() -> Path:
    """`$FLIGHTLINE_CACHE`, else `flightline` in the user's cache folder."""
    if chosen := os.environ.get("FLIGHTLINE_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flightline"


@dataclass(frozen=True)
class Go:
    """The Go that builds, as it describes itself in a tool's folder, where `go.mod` may choose a newer one.

    `holds` are descriptors that its commands keep open: with a lock among them, what outlives this process holds it.
    """

    folder: Path
    settings: dict[str, str]
    environment: dict[str, str]
    holds: tuple[int, ...] = ()

    @classmethod
    def find(cls, folder: Path, wanted: Tool | None = None) -> "Go":
        """As it builds a tool. Raises UnavailableError where there is none."""
        if shutil.which("go") is None:
            raise UnavailableError(
                "no `go` on PATH, and the tools are built with it; install Go from https://go.dev/dl"
            )
        names = ("GOVERSION", "GOOS", "GOARCH", "GOMODCACHE", "GOCACHE")
        environment = _environment(wanted)
        return cls(folder, json.loads("\n".join(_lines(["env", "-json", *names], folder, environment))), environment)

    @property
    def identity(self) -> str:
        """What of it changes the programs it makes."""
        return " ".join(self.settings[name] for name in ("GOVERSION", "GOOS", "GOARCH"))

    def lines(self, *arguments: str) -> Iterator[str]:
        """What a go command prints, line by line as it comes. Raises UnavailableError where it fails."""
        return _lines(arguments, self.folder, self.environment, self.holds)


@dataclass(frozen=True)
class Workshop:
    """Tools, the folder with a folder of sources for each, and where what is built is kept."""

    tools: tuple[Tool, ...] = TOOLS
    sources: Path = SOURCES
    cache: Path | None = None

    @property
    def kept(self) -> Path:
        """Holds a folder for each tool."""
        return (self.cache or cache_folder()) / "tools"

    def find(self, name: str) -> Tool:
        """The tool of a name, or the one that has a program of that name. Raises ConfigError."""
        for one in self.tools:
            if name == one.name or name in one.names:
                return one
        raise ConfigError(f"{name!r} is no tool; there are {', '.join(one.name for one in self.tools)}")

    def tool(self, name: str, say: Say | None = None) -> Path:
        """As the function `tool`."""
        found = self.find(name)
        return self.build(found, say).folder / (name if name in found.names else found.first)

    def folder(self, wanted: Tool) -> Path:
        """Where a tool is, or will be once it is built. Raises UnavailableError."""
        return self._folder(wanted, self._go(wanted))

    def version(self, wanted: Tool) -> str:
        """The version that the tool's go.mod requires of its module, with its v. Raises ConfigError."""
        path = self.sources / wanted.name / "go.mod"
        found = re.search(rf"^\s*(?:require )?{re.escape(wanted.module)} (v\S+)", path.read_text(), re.MULTILINE)
        if found is None:
            raise ConfigError(f"{path}: requires no {wanted.module}; `go get {wanted.module}@VERSION` there")
        return found[1]

    def module_folder(self, name: str) -> Path:
        """As the function `module_folder`."""
        wanted = self.find(name)
        described = "\n".join(self._go(wanted).lines("mod", "download", "-json", wanted.module))
        return Path(json.loads(described[described.index("{") :])["Dir"])

    def build(self, wanted: Tool, say: Say | None = None) -> Built:
        """The tool, built now where it is not there; whoever asks meanwhile waits. Raises UnavailableError."""
        go = self._go(wanted)
        folder, start = self._folder(wanted, go), time.monotonic()
        if folder.is_dir():
            return Built(name=wanted.name, version=self.version(wanted), folder=folder, seconds=0)
        with progress() if say is None else nullcontext(say) as shown, _alone(folder.parent, shown) as lock:
            if not folder.is_dir():
                self._make(wanted, replace(go, holds=(lock,)), folder, shown)
        seconds = time.monotonic() - start
        return Built(name=wanted.name, version=self.version(wanted), folder=folder, seconds=seconds)

    def _go(self, wanted: Tool) -> Go:
        return Go.find(self.sources / wanted.name, wanted)

    def _folder(self, wanted: Tool, go: Go) -> Path:
        return self.kept / wanted.name / key(wanted, self.sources / wanted.name, go.identity)

    def _make(self, wanted: Tool, go: Go, folder: Path, say: Say) -> None:
        """In a scratch folder first: what carries the key's name is whole."""
        _check_compiler(wanted)
        _check_room(wanted, {"FLIGHTLINE_CACHE": str(folder.parent), **go.settings})
        _sweep(folder.parent)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            _compile(wanted, self.version(wanted), go, made, say)
            for link in wanted.links:
                (made / link).symlink_to(wanted.first)
            made.rename(folder)


def key(wanted: Tool, sources: Path, go: str) -> str:
    """Names what a build of these sources, this recipe and this Go makes; 16 hex digits."""
    unused = {name for name in ("tags", "cgo") if not getattr(wanted, name)}
    recipe = wanted.model_dump_json(exclude={"purpose", "gigabytes", *unused})
    digest = hashlib.sha256(f"{go}\n{recipe}\n".encode())
    for path in sorted(one for one in sources.rglob("*") if one.is_file()):
        digest.update(
            f"{path.relative_to(sources).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()[:16]


def linker_flags(wanted: Tool, version: str) -> str:
    """No debug data, and the version where the program looks for it."""
    major, minor = version.removeprefix("v").split(".")[:2]
    filled = (stamp.format(version=version, major=major, minor=minor) for stamp in wanted.stamps)
    return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in filled)])


def _compile(wanted: Tool, version: str, go: Go, into: Path, say: Say) -> None:
    """Download, compile and link, saying every few seconds how far it is."""
    title, start, often = f"{wanted.name} {version}", time.monotonic(), _sparingly(say)
    say(f"{title}: looking for its modules")
    count = _count(wanted, go, lambda line: often(f"{title}: {line}"))
    flags, done = linker_flags(wanted, version), 0
    for program, package in wanted.programs.items():
        say(f"{title}: building {program}")
        for line in go.lines("build", "-v", "-ldflags", flags, "-o", str(into / program), package):
            done += 1  # go names a package when it begins it, and none that its cache holds
            often(f"{title}: compiled {done} packages of at most {count}")
            if line == package:
                say(f"{title}: linking {program}")
    say(f"{title}: built in {time.monotonic() - start:.0f} s")


def _count(wanted: Tool, go: Go, say: Say) -> int:
    """How many packages its programs are made of; on the way Go downloads the modules that are not there."""
    count = 0
    for line in go.lines("list", "-deps", *wanted.programs.values()):
        if line.startswith("go: "):
            say(line.removeprefix("go: "))
        else:
            count += 1
    return count


def _sparingly(say: Say) -> Say:
    """Says only what comes some seconds after the last thing said."""
    last = time.monotonic()

    def often(step: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(step)

    return often


def _lines(
    arguments: Sequence[str], folder: Path, environment: dict[str, str], holds: tuple[int, ...] = ()
) -> Iterator[str]:
    """What a go command prints. It is stopped when nobody listens any more. Raises UnavailableError where it fails."""
    recent: deque[str] = deque(maxlen=3)
    command = ["go", *arguments]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, pass_fds=holds, **streams) as process:
        try:
            for line in process.stdout or ():
                recent.append(line.strip())
                yield line.strip()
        except BaseException:
            process.send_signal(signal.SIGINT)  # on which go removes its own scratch folder, as on no other signal
            raise
    if process.returncode:
        raise UnavailableError(f"`go {arguments[0]}` failed in {folder}: {plain('; '.join(recent))}")


def _environment(wanted: Tool | None) -> dict[str, str]:
    """The same flags wherever it runs, so that the same programs come out and Go's caches hit."""
    tags = [f"-tags={','.join(wanted.tags)}"] if wanted and wanted.tags else []
    flags = " ".join(["-mod=readonly", "-trimpath", "-buildvcs=false", *tags])
    pinned = {"GOFLAGS": flags, "CGO_ENABLED": "1" if wanted and wanted.cgo else "0", "GOWORK": "off"}
    return {**os.environ, **pinned}


def _check_compiler(wanted: Tool) -> None:
    """Raises UnavailableError where a tool is partly C and nothing here compiles that."""
    if wanted.cgo and shutil.which(os.environ.get("CC", "gcc")) is None:
        raise UnavailableError(f"building {wanted.name} needs a C compiler; apt-get install gcc libc6-dev")


def _check_room(wanted: Tool, places: dict[str, str]) -> None:
    """Raises UnavailableError where a folder that the build fills is on a disk too full for it."""
    for variable in ("FLIGHTLINE_CACHE", "GOMODCACHE", "GOCACHE"):
        folder = Path(places[variable])
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(there).free / 1e9
        if free < wanted.gigabytes:
            raise UnavailableError(
                f"{folder}: {free:.1f} GB free, and building {wanted.name} may need {wanted.gigabytes:g} GB; "
                f"free some, or set {variable} to a folder on another disk"
            )


def _sweep(folder: Path) -> None:
    """Remove what a killed build left; whoever holds the lock is the only one building."""
    for left in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[int]:
    """Hold a tool's folder in the cache; the lock, whose descriptor this yields, goes with whoever has it open."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {folder.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
