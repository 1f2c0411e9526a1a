"""The production shape, read: nothing stands in it that is not in this tree."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drumbeat.machine.build import ROOT
from drumbeat.settings import Settings
from tests.temporal_server import built

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "drumbeat"}
EXAMPLE = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied() -> set[str]:
    """The paths that the Dockerfile copies into the image."""
    lines = re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_exists_in_the_tree_and_in_the_image(name: str) -> None:
    program, *arguments = OURS[name]["command"]
    assert program == "python"
    if arguments[0] == "-m":
        spec = importlib.util.find_spec(arguments[1])
        assert spec is not None, f"{arguments[1]} does not exist"
        is_package = spec.submodule_search_locations is not None
        assert not is_package or importlib.util.find_spec(f"{arguments[1]}.__main__")
        assert arguments[1].split(".")[0] in copied()
    else:
        assert (ROOT / arguments[0]).is_file()
        assert arguments[0] in copied()


def test_the_image_holds_only_what_exists_and_runs_without_root() -> None:
    assert all((ROOT / path).exists() for path in copied())
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes -r requirements.txt" in DOCKERFILE
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{path.removesuffix('/')}" in ignored for path in copied())


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    settings = {f"DRUMBEAT_{field.upper()}" for field in Settings.model_fields}
    temporal = {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}
    assert set(OURS[name]["environment"]) <= settings | temporal


@pytest.mark.parametrize(
    ("name", "program"), [("temporal", "server"), ("temporal-schema", "sql_tool")]
)
def test_every_variable_of_temporals_programs_is_one_that_they_read(
    name: str, program: str
) -> None:
    binary: bytes = getattr(built(), program).read_bytes()
    for variable in SERVICES[name]["environment"]:
        assert variable.encode() in binary, f"{program} knows no {variable}"


def test_the_images_of_temporal_are_of_the_versions_in_go_mod() -> None:
    go_mod = (ROOT / "deploy/temporal/go.mod").read_text()
    server = re.search(r"go\.temporal\.io/server v(\S+)", go_mod)
    ui = re.search(r"github\.com/temporalio/ui-server/v2 v(\S+)", go_mod)
    assert server and ui
    assert SERVICES["temporal"]["image"] == f"temporalio/server:{server[1]}"
    assert SERVICES["temporal-schema"]["image"] == f"temporalio/admin-tools:{server[1]}"
    assert SERVICES["temporal-ui"]["image"] == f"temporalio/ui:{ui[1]}"


def test_every_mounted_file_exists() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert files
    assert all((ROOT / path).is_file() for path in files)


def test_every_file_that_a_variable_or_a_command_names_is_mounted_there() -> None:
    for name, service in SERVICES.items():
        targets = {mount.split(":")[-2] for mount in service.get("volumes", ()) if ":ro" in mount}
        values = [*service.get("environment", {}).values(), *service.get("command", ())]
        named = {str(value) for value in values if re.fullmatch(r"/[\w./-]+", str(value))}
        assert named == targets, name


def test_only_the_command_centers_port_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["${DRUMBEAT_WEB_PORT:-8080}:8080"]}
    assert Settings.model_fields["web_port"].default == 8080
    assert OURS["web"]["environment"]["DRUMBEAT_WEB_PORT"] == "8080"


def test_secrets_have_no_default_and_stand_in_the_example_file() -> None:
    variables = dict(re.findall(r"\$\{(\w+)(:[?-])", TEXT))
    with_default = {name for name, kind in variables.items() if kind == ":-"}
    assert with_default == {"DRUMBEAT_WEB_PORT"}
    offered = set(re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert offered == set(variables) | {"GRACE_PASSWORD"}
    given = re.findall(r"^[A-Z_]+=(.+)$", EXAMPLE, re.MULTILINE)
    assert given == []
    assert not re.search(r"PASSWORD: (?!\$\{)|SECRET_KEY: (?!\$\{)|PWD: (?!\$\{)", TEXT)


def test_services_wait_for_what_they_need() -> None:
    jobs = {name for name, service in SERVICES.items() if service["restart"] == "on-failure:5"}
    assert jobs == {"temporal-schema", "temporal-namespace", "migrate"}
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in jobs else "service_healthy"
            assert condition["condition"] == wanted, (name, other)
            assert wanted != "service_healthy" or "healthcheck" in SERVICES[other]


def test_the_dynamic_settings_are_ones_that_the_server_knows() -> None:
    binary = built().server.read_bytes()
    for path in ("dynamic.yaml", "production.yaml"):
        for setting in YAML(typ="safe").load(Path(ROOT / "deploy/temporal" / path)):
            assert setting.encode() in binary, f"{path}: the server knows no {setting}"
