"""The wheel carries all that the program needs, and works away from the checkout."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_below(folder: str) -> set[str]:
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


@pytest.mark.parametrize("folder", ["templates", "migrations"])
def test_templates_and_migrations_lie_within_the_package(content, folder) -> None:
    below = files_below(folder)
    assert below
    assert {f"quota_watch/{name}" for name in below} <= content


def test_every_module_and_the_typing_mark_are_there(content) -> None:
    assert files_below("quota_watch") <= content
    assert "quota_watch/py.typed" in content


def test_nothing_else_is_there(content) -> None:
    tops = {name.split("/")[0] for name in content}
    assert {re.sub(r"-[\d.]+\.dist-info", "-dist-info", top) for top in tops} == {
        "quota_watch",
        "quota_watch-dist-info",
    }


def test_the_wheel_bears_the_licence_and_the_command(wheel, content) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in content)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in content if name.endswith("/entry_points.txt")]
        assert "quota-watch = quota_watch.cli:main" in archive.read(name).decode()


def test_the_metadata_names_extras_and_the_oldest_python(metadata) -> None:
    assert set(metadata.get_all("Provides-Extra")) == {"all", "apprise", "dev", "postgres", "web"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_the_metadata_holds_the_readme(metadata) -> None:
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()


def test_the_version_is_that_of_the_package(wheel) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert wheel.name == f"quota_watch-{project['version']}-py3-none-any.whl"


@pytest.mark.parametrize("name", ["templates", "migrations"])
def test_installed_from_the_wheel_resources_are_found_in_it(unpacked, tmp_path, name) -> None:
    code = f"from quota_watch.lib.machine import resource_dir; print(resource_dir({name!r}))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == str(unpacked / "quota_watch" / name)


def test_installed_from_the_wheel_the_command_tells_its_version(unpacked, tmp_path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "quota_watch", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert re.search(r"\d+\.\d+\.\d+", run.stdout)
