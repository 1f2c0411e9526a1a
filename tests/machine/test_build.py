from pathlib import Path

import pytest

from drumbeat.machine import build
from drumbeat.machine.build import MODULE, PACKAGES, BuildFailed, find, find_or_build


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


GO = 'if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit 0; fi\n'


async def test_a_missing_go_is_one_line_with_the_version(bin_folder: Path) -> None:
    with pytest.raises(BuildFailed, match=r"Go is missing: install Go 1\.26\.8") as raised:
        await find_or_build(print)
    assert "\n" not in str(raised.value)


async def test_an_older_go_is_one_line_with_both_versions(bin_folder: Path) -> None:
    program(bin_folder / "go", 'echo "go version go1.19 linux/amd64"')
    with pytest.raises(BuildFailed, match=r"Go 1\.26\.8 or newer is needed.* is 1\.19\.0"):
        await find_or_build(print)


async def test_a_go_that_cannot_fetch_its_toolchain_is_quoted(bin_folder: Path) -> None:
    program(bin_folder / "go", 'echo "go: download go1.26.8: no network"; exit 1')
    with pytest.raises(BuildFailed, match="no network"):
        await find_or_build(print)


async def test_a_build_is_shown_while_it_goes_on_and_then_found(bin_folder: Path) -> None:
    program(
        bin_folder / "go",
        GO + 'for word in "$@"; do case $word in -o=*) : > "${word#-o=}";; esac; done',
    )
    said: list[str] = []
    made = await find_or_build(said.append)
    assert made == find()
    assert {path.name for path in made.folder.iterdir()} == set(PACKAGES)
    assert [line for line in said if "temporal-ui (2 of 3)" in line]
    again: list[str] = []
    assert await find_or_build(again.append) == made
    assert again == []


async def test_a_failed_build_tells_the_compilers_words_and_leaves_nothing(
    bin_folder: Path,
) -> None:
    program(bin_folder / "go", GO + 'echo "main.go:1: no such thing" >&2; exit 1')
    with pytest.raises(BuildFailed, match=r"main\.go:1: no such thing"):
        await find_or_build(print)
    assert find() is None
    assert list(build.cache().iterdir()) == []


async def test_a_cache_that_cannot_be_written_is_one_line_with_the_setting(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bin_folder / "go", GO)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with pytest.raises(BuildFailed, match="XDG_CACHE_HOME"):
        await find_or_build(print)


def test_another_version_of_any_module_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build.folder()
    (tmp_path / "go.sum").write_text((MODULE / "go.sum").read_text() + "more\n")
    monkeypatch.setattr(build, "MODULE", tmp_path)
    assert build.folder() != before
    assert build.folder().parent == before.parent
