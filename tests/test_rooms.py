"""The rooms of ARCHITECTURE.md: who may import whom, and that the check of it would notice."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("activities", "drumbeat", "workflows")
DOORS = ("starter", "worker")
"""Single modules, of which import-linter knows nothing."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` on the tree in a folder."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms and the contracts, to be spoilt."""
    folder = tmp_path_factory.mktemp("rooms")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


def test_every_room_imports_only_to_its_right(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("drumbeat/campaign/model.py", "import drumbeat.settings"),
        ("drumbeat/campaign/calendar.py", "import sqlalchemy"),
        ("drumbeat/settings.py", "import drumbeat.reps"),
        ("drumbeat/store/events.py", "import drumbeat.mail.links"),
        ("drumbeat/mail/links.py", "import activities.guarding"),
        ("activities/guarding.py", "import workflows.messages"),
        ("workflows/messages.py", "import drumbeat.actions.desk"),
        ("drumbeat/actions/desk.py", "from drumbeat.web import limiting"),
        ("drumbeat/web/limiting.py", "import drumbeat.machine.parts"),
        ("drumbeat/machine/parts.py", "def late() -> None:\n    import drumbeat.cli.app"),
    ],
)
def test_an_import_to_the_left_or_beside_is_noticed(
    copy: Path, module: str, statement: str
) -> None:
    spoilt = copy / module
    kept = spoilt.read_text()
    try:
        spoilt.write_text(f"{kept}\n{statement}\n")
        done = lint(copy)
    finally:
        spoilt.write_text(kept)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
    assert module.removesuffix(".py").replace("/", ".") in done.stdout


def test_every_room_has_its_place() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert sorted(settings["root_packages"]) == sorted(PACKAGES)
    layers = settings["contracts"][0]["layers"]
    placed = {room.strip() for layer in layers for room in layer.split("|")}
    graph = grimp.build_graph(*PACKAGES)
    rooms = set(graph.find_children("drumbeat"))
    assert placed == rooms | {"activities", "workflows"}


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_the_doors(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not imports_of(path.read_text()) & {*DOORS, "bench", "storm", "tests"}, path


@pytest.mark.parametrize("door", DOORS)
def test_the_doors_import_rooms_only(door: str) -> None:
    imported = imports_of((ROOT / f"{door}.py").read_text())
    assert imported & set(PACKAGES)
    assert not imported & {*DOORS, "bench", "storm", "tests"}


@pytest.mark.parametrize(
    "text",
    ["import worker", "import os, worker", "from worker import main", "def f():\n import worker.x"],
)
def test_an_import_is_found_wherever_it_stands(text: str) -> None:
    assert "worker" in imports_of(text)


def imports_of(text: str) -> set[str]:
    """The top-level names that a module's text imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
