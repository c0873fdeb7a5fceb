"""Programs of the machine that some tests need.

Where one is missing its tests are skipped and the last line of the run says so; in CI, where
`.ci/run` installs them all, they fail instead.
"""

import os
import shutil

import pytest

PROGRAMS = {
    "chromium": ("a browser", ("chromium", "google-chrome"), "apt-get install chromium"),
    "pgbouncer": ("PgBouncer", ("pgbouncer",), "apt-get install pgbouncer"),
    "promtool": ("promtool", ("promtool",), "apt-get install prometheus"),
}
"""What people call it, the names its program goes by, and how to get it."""


def program(name: str) -> str:
    """Return the path of a program; fails the test where there is none."""
    what, names, remedy = PROGRAMS[name]
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"this test needs {what}: {remedy}"
    return found


def skip_what_lacks_a_program(items: list[pytest.Item]) -> None:
    """Skip tests marked `needs(…)` whose program is missing, but not in CI."""
    if os.environ.get("CI"):
        return
    for item in items:
        for name in _needed(item):
            if name in _missing():
                what, _, remedy = PROGRAMS[name]
                item.add_marker(pytest.mark.skip(reason=f"needs {what}: {remedy}"))


def closing_line() -> str:
    """Say which tests were skipped and how to run them; nothing where none were."""
    if os.environ.get("CI") or not _missing():
        return ""
    lacking = [PROGRAMS[name] for name in _missing()]
    names = ", ".join(what for what, _, _ in lacking)
    remedies = " ".join(remedy.removeprefix("apt-get install ") for _, _, remedy in lacking)
    return f"skipped: tests that need {names}. To run them too: apt-get install {remedies}"


def _needed(item: pytest.Item) -> list[str]:
    return [name for mark in item.iter_markers("needs") for name in mark.args]


def _missing() -> list[str]:
    return [name for name, (_, names, _) in PROGRAMS.items() if not any(map(shutil.which, names))]
