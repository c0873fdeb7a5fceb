"""Pictures for the README, taken of the demo once it has come to now.

Run it in a checkout, best in the last third of a month: python docs/make_screenshots.py (needs
the extras of dev, and a Chromium: $CHROMIUM, else what the path has).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
_MOMENT = "on in real time"
_SECONDS = "300"
_OVERVIEW, _ORGANIZATION, _MAILED = (1200, 680), (1200, 1010), (1224, 600)
_MAILS = ("Growing Shop will", "is over its limit", "read Revoked Agency")
_FRAME = '<iframe src="{name}" width="400" height="600" style="border:0"></iframe>'


@contextmanager
def playing(folder: str) -> Iterator[str]:
    """Play the demo up to now; yield the address of its page."""
    environ = os.environ | {"TMPDIR": folder, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "quota_watch", "demo", "--for", _SECONDS]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  our own command
        lines = iter(process.stdout or ())
        url = next(lines).split()[2]
        for line in lines:
            if _MOMENT in line:
                break
        yield url
        process.send_signal(signal.SIGTERM)


def shoot(
    browser: Browser, url: str, name: str, size: tuple[int, int], look: str = "light"
) -> None:
    """Take the top of a page."""
    view = {"width": size[0], "height": size[1]}
    window = browser.new_page(viewport=view, color_scheme=look)
    window.goto(url)
    window.screenshot(path=HERE / f"{name}.png", style="#refresh { visibility: hidden }")
    window.close()


def beside_each_other(folder: Path) -> Path:
    """Write a page of the three mails that matter: forecast, limit reached, can't be read."""
    mails = sorted(folder.glob("*/*.html"), reverse=True)
    shown = [next(each for each in mails if words in each.read_text("utf-8")) for words in _MAILS]
    page = folder / "mails.html"
    frames = "\n".join(_FRAME.format(name=each.relative_to(folder)) for each in shown)
    page.write_text(f'<body style="margin:0;display:flex;gap:12px">{frames}')
    return page


def main() -> None:
    """Play the demo and write the pictures beside this file."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        playing(folder) as url,
    ):
        # Its sandbox is not available as root; it sees our own pages alone.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shoot(browser, url, "overview-light", _OVERVIEW)
        shoot(browser, url, "overview-dark", _OVERVIEW, "dark")
        growing = f"{url}/organizations/org_growing_shop"
        shoot(browser, growing, "organization", _ORGANIZATION)
        shoot(browser, beside_each_other(Path(folder)).as_uri(), "mail", _MAILED)
        browser.close()


if __name__ == "__main__":
    main()
