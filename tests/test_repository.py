"""What must hold of everything that is kept here, code or not."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import quota_watch

ROOT = Path(__file__).parent.parent
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def kept_files() -> list[str]:
    """Return what is in git or would be added to it; every file where there is no git."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return sorted(_every_file())
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"], check=True, capture_output=True
    )
    names = os.fsdecode(listed.stdout).split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def _every_file() -> Iterator[str]:
    made = re.compile(
        r"^(\.git|\.venv|\..*_cache|\.hypothesis|__pycache__|dist|build|.*\.egg-info)$"
    )
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not made.match(name)]
        yield from (
            str((Path(folder) / name).relative_to(ROOT)) for name in names if name != ".git"
        )


FILES = kept_files()
MODULES = [name for name in FILES if name.endswith(".py")]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def test_no_file_knows_the_machine_it_was_made_on() -> None:
    path = re.compile(r"(?<![\w.$}-])/(?:work|root|home)/\S*")
    assert {name: found for name in FILES if (found := path.findall(text_of(name)))} == {}


def test_no_file_names_a_package_index() -> None:
    # Put together here, or this file would be the first to be found.
    index = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "--index-" + "url"]))
    assert [name for name in FILES if index.search(text_of(name))] == []


def test_a_module_fits_a_head() -> None:
    ours = [name for name in MODULES if not name.startswith("tests/")]
    lengths = {name: len(text_of(name).splitlines()) for name in ours}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_a_function_fits_a_screen() -> None:
    too_long = {
        f"{name}:{node.lineno} {node.name}"
        for name in MODULES
        if not name.startswith("migrations/")  # a list of statements, never to be read for sense
        for node in ast.walk(ast.parse(text_of(name)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    }
    assert too_long == set()


@pytest.mark.parametrize(
    "name",
    [
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "config.example.toml",
        "constraints.txt",
        "deploy/README.md",
        "deploy/quota-watch.service",
    ],
)
def test_what_a_stranger_looks_for_is_there(name) -> None:
    assert text_of(name).strip()


@pytest.mark.parametrize("name", ["run", "release"])
def test_the_scripts_of_the_whole_can_be_run(name) -> None:
    assert os.access(ROOT / ".ci" / name, os.X_OK)


def test_what_builds_a_release_is_pinned_as_everywhere_and_by_hash() -> None:
    lines = [line for line in text_of(".ci/build.txt").splitlines() if not line.startswith("#")]
    pins = {line.partition(" --hash=sha256:")[0] for line in lines}
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}$", line) for line in lines)
    assert pins <= set(text_of("constraints.txt").splitlines())


def test_the_readme_begins_with_the_two_commands_each_on_one_line() -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text_of("README.md"), re.MULTILINE | re.DOTALL)
    (first, try_it), (second, test_it) = blocks[:2]
    assert (first, second) == ("sh", "sh")
    assert [try_it.count("\n"), test_it.count("\n")] == [1, 1]
    assert try_it.endswith("/quota-watch demo\n")
    assert test_it.endswith("-m pytest -n 4\n")


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(
        rf"^## v{re.escape(quota_watch.__version__)} \u2013 ", text_of("CHANGELOG.md"), re.MULTILINE
    )
    assert PYPROJECT["project"]["version"] == quota_watch.__version__


def constraints() -> dict[str, str]:
    lines = [line for line in text_of("constraints.txt").splitlines() if line[:1] != "#"]
    return dict(line.lower().replace("_", "-").split("==") for line in lines)


def test_the_constraints_pin_everything_that_is_asked_for() -> None:
    project = PYPROJECT["project"]
    asked_for = [*PYPROJECT["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        asked_for += [each for each in extra if not each.startswith("quota-watch")]
    names = {re.split(r"[\[<>=~! ]", each)[0].lower() for each in asked_for}
    assert names - set(constraints()) == set()


def test_tests_neither_skip_nor_expect_to_fail() -> None:
    marks = "|".join(["mark." + "skip", "mark." + "xfail", r"pytest\." + r"skip\("])
    tests = {name for name in MODULES if name.startswith("tests/")}
    tests -= {"tests/support/needs.py"}  # what the machine lacks is skipped, and said, but in CI
    assert [name for name in tests if re.search(marks, text_of(name))] == []
