import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.errors import UnavailableError
from pipeline.tools import SOURCES, TOOLS, Tool, Workshop, cache_folder, key, linker_flags

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on this machine")

GREETER = """package main

import (
	"fmt"
	"os"
	"path/filepath"
)

var version = "unset"

func main() { fmt.Println(filepath.Base(os.Args[0]), version) }
"""


def tiny(**changes: object) -> Tool:
    """A tool of one file that needs nothing beyond Go itself."""
    given = {
        "name": "greeter",
        "module": "example.com/greetings",
        "programs": {"greeter": "flightline.local/tools/greeter"},
        "links": ("hello",),
        "stamps": ("main.version={version}",),
        "gigabytes": 0.001,
        "purpose": "greets",
    }
    return Tool.model_validate({**given, **changes})


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    sources = tmp_path / "sources" / "greeter"
    sources.mkdir(parents=True)
    (sources / "main.go").write_text(f"{GREETER}\n// {tmp_path}: so that Go's cache does not hold it\n")
    (sources / "go.sum").write_text("")
    required = (
        "module flightline.local/tools/greeter\n\ngo 1.21\n\nrequire example.com/greetings v1.2.3 // indirect\n\n"
    )
    (sources / "go.mod").write_text(required + "replace example.com/greetings => ./greetings\n")
    (sources / "greetings").mkdir()
    (sources / "greetings" / "go.mod").write_text("module example.com/greetings\n\ngo 1.21\n")
    return Workshop((tiny(),), tmp_path / "sources", tmp_path / "cache")


def silent(step: str) -> None:
    """Progress that nobody reads."""


def left_in(workshop: Workshop) -> set[str]:
    """What a build keeps for the greeter, but for the lock."""
    return {one.name for one in (workshop.kept / "greeter").iterdir()} - {".lock"}


@needs_go
def test_tool_is_built_once_and_knows_its_version(workshop: Workshop) -> None:
    said: list[str] = []
    path = workshop.tool("greeter", said.append)
    assert subprocess.check_output([path], text=True) == "greeter v1.2.3\n"
    assert said[-1].startswith("greeter v1.2.3: built in ")
    inode = path.stat().st_ino
    assert workshop.tool("greeter", said.append).stat().st_ino == inode


@needs_go
def test_link_is_the_same_program_called_by_another_name(workshop: Workshop) -> None:
    assert subprocess.check_output([workshop.tool("hello", silent)], text=True) == "hello v1.2.3\n"


@needs_go
def test_build_says_what_it_links(workshop: Workshop) -> None:
    said: list[str] = []
    workshop.tool("greeter", said.append)
    assert "greeter v1.2.3: linking greeter" in said


@pytest.mark.parametrize("name", ["go.sum", "go.mod", "main.go", "greetings/go.mod"])
def test_key_changes_with_every_file_of_the_folder(workshop: Workshop, name: str) -> None:
    folder = workshop.sources / "greeter"
    before = key(tiny(), folder, "go1.26.8 linux amd64")
    (folder / name).write_text((folder / name).read_text() + "\n")
    assert key(tiny(), folder, "go1.26.8 linux amd64") != before


def test_key_changes_with_go_and_with_the_recipe_but_not_with_what_is_said_of_it(workshop: Workshop) -> None:
    folder = workshop.sources / "greeter"
    before = key(tiny(), folder, "go1.26.8 linux amd64")
    assert key(tiny(), folder, "go1.27.0 linux amd64") != before
    assert key(tiny(links=()), folder, "go1.26.8 linux amd64") != before
    assert key(tiny(purpose="greets people"), folder, "go1.26.8 linux amd64") == before


def test_without_go_the_error_says_what_to_install(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match=r"no `go` on PATH.*install Go from https://go\.dev/dl"):
        workshop.tool("greeter", silent)


@needs_go
def test_too_full_a_disk_is_named_before_anything_is_compiled(workshop: Workshop) -> None:
    greedy = Workshop((tiny(gigabytes=1e9),), workshop.sources, workshop.cache)
    with pytest.raises(
        UnavailableError, match=r"cache/tools/greeter: \d+\.\d GB free, and .* may need 1e\+09 GB.*FLIGHTLINE_CACHE"
    ):
        greedy.tool("greeter", silent)
    assert left_in(greedy) == set()


def test_unknown_tool_is_refused_with_the_names_there_are(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="'helm' is no tool; there are greeter"):
        workshop.tool("helm", silent)


@needs_go
def test_module_that_go_mod_does_not_require_is_named(workshop: Workshop) -> None:
    other = Workshop((tiny(module="example.com/other"),), workshop.sources, workshop.cache)
    with pytest.raises(ConfigError, match=r"go\.mod: requires no example\.com/other"):
        other.tool("greeter", silent)


@needs_go
def test_two_at_once_build_once(workshop: Workshop) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(2) as both:
        paths = [one.result() for one in [both.submit(workshop.tool, "greeter", said.append) for _ in range(2)]]
    assert paths[0] == paths[1]
    assert sum("built in" in one for one in said) == 1


@needs_go
def test_what_does_not_compile_leaves_nothing_and_says_why(workshop: Workshop) -> None:
    (workshop.sources / "greeter" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(UnavailableError, match=r"`go build` failed in .*: undefined: undefined"):
        workshop.tool("greeter", silent)
    assert left_in(workshop) == set()


@needs_go
def test_interrupted_build_leaves_nothing_half_made(workshop: Workshop) -> None:
    def interrupt(step: str) -> None:
        if "linking" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workshop.tool("greeter", interrupt)
    assert left_in(workshop) == set()


@needs_go
def test_what_a_killed_build_left_is_swept_by_the_next(workshop: Workshop) -> None:
    (workshop.kept / "greeter").mkdir(parents=True)
    script = (
        "import sys, time; from pathlib import Path; from pipeline.tools import Workshop; "
        "from tests.unit.pipeline.test_tools import tiny\n"
        "def stay(step):\n    print(step, flush=True)\n    'linking' in step and time.sleep(60)\n"
        "Workshop((tiny(),), Path(sys.argv[1]), Path(sys.argv[2])).tool('greeter', stay)"
    )
    command = [sys.executable, "-c", script, str(workshop.sources), str(workshop.cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert any("linking" in line for line in killed.stdout or ())
        killed.send_signal(signal.SIGKILL)
    assert [one.startswith(".building-") for one in left_in(workshop)] == [True]
    path = workshop.tool("greeter", silent)
    assert left_in(workshop) == {path.parent.name}


@needs_go
def test_module_folder_holds_the_sources() -> None:
    """Of a module that every machine with the tools has: kubeconform's, a few hundred kB."""
    folder = Workshop().module_folder("kubeconform")
    assert (folder / "cmd" / "kubeconform" / "main.go").is_file()


def test_cache_is_where_the_variable_says_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLIGHTLINE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("FLIGHTLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there" / "flightline"


@pytest.mark.parametrize("one", TOOLS, ids=lambda one: one.name)
def test_every_tool_has_a_version_and_hashes(one: Tool) -> None:
    assert Workshop().version(one).startswith("v")
    assert (SOURCES / one.name / "go.sum").stat().st_size


def test_every_folder_of_sources_is_a_tool_and_no_two_share_a_name() -> None:
    assert {one.name for one in SOURCES.iterdir() if one.is_dir()} == {one.name for one in TOOLS}
    names = [name for one in TOOLS for name in one.names]
    assert len(names) == len(set(names))


def test_linker_is_told_the_version_as_kubernetes_wants_it() -> None:
    stamps = ("a.gitVersion={version}", "a.gitMajor={major}", "a.gitMinor={minor}")
    flags = linker_flags(tiny(stamps=stamps), "v1.36.3")
    assert flags == "-s -w -X a.gitVersion=v1.36.3 -X a.gitMajor=1 -X a.gitMinor=36"


@needs_go
def test_tags_choose_among_a_tools_files(workshop: Workshop) -> None:
    sources = workshop.sources / "greeter"
    (sources / "loud.go").write_text('//go:build loud\n\npackage main\n\nfunc init() { version += "!" }\n')
    loud = Workshop((tiny(tags=("loud",)),), workshop.sources, workshop.cache)
    assert subprocess.check_output([loud.tool("greeter", silent)], text=True) == "greeter v1.2.3!\n"
    assert subprocess.check_output([workshop.tool("greeter", silent)], text=True) == "greeter v1.2.3\n"


@needs_go
def test_tool_that_is_partly_c_names_the_compiler_it_lacks(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    partly = Workshop((tiny(cgo=True),), workshop.sources, workshop.cache)
    with pytest.raises(UnavailableError, match="greeter needs a C compiler; apt-get install gcc"):
        partly.tool("greeter", silent)


def test_way_to_build_names_what_is_built(tmp_path: Path) -> None:
    keys = {key(one, tmp_path, "go1") for one in (tiny(), tiny(tags=("loud",)), tiny(cgo=True))}
    assert len(keys) == 3
