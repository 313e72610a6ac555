"""Images of files: equal files are equal digests, and what is in them runs."""

import gzip
import io
import os
import tarfile
from pathlib import Path

from infra.local.images import Recipe, layer


def recipe(folder: Path) -> Recipe:
    (folder / "program").write_bytes(b"#!/bin/true\n")
    return Recipe("r", {"bin/program": folder / "program"}, {}, {"bin/other": "program"})


def entries(made: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(made))) as archive:
        return {one.name: one for one in archive.getmembers()}


def test_a_layer_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    first = layer(recipe(tmp_path))
    os.utime(tmp_path / "program", (1, 1))
    (tmp_path / "program").chmod(0o700)
    assert layer(recipe(tmp_path)) == first


def test_other_contents_are_another_layer(tmp_path: Path) -> None:
    wanted = recipe(tmp_path)
    first = layer(wanted)
    (tmp_path / "program").write_bytes(b"#!/bin/false\n")
    assert layer(wanted).diff_id != first.diff_id


def test_everybody_may_run_what_is_in_it(tmp_path: Path) -> None:
    found = entries(layer(recipe(tmp_path)).blob.data)
    assert found["bin/program"].mode == found["bin"].mode == 0o555
    assert (found["bin/program"].uid, found["bin/program"].mtime) == (0, 0)


def test_links_are_kept_as_links(tmp_path: Path) -> None:
    found = entries(layer(recipe(tmp_path)).blob.data)
    assert found["bin/other"].issym()
    assert found["bin/other"].linkname == "program"


def test_a_link_among_the_files_is_followed(tmp_path: Path) -> None:
    """The tools' folder holds links: their programs go into the image."""
    recipe(tmp_path)
    (tmp_path / "link").symlink_to("program")
    found = entries(layer(Recipe("r", {"program": tmp_path / "link"}, {})).blob.data)
    assert found["program"].isreg()
