import io
import logging
import sys

import pytest

from quota_watch.cli.context import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(patch: pytest.MonkeyPatch, term: str) -> Terminal:
    """Make stderr one; not as a fixture, after which pytest takes stderr back."""
    screen = Terminal()
    patch.setattr(sys, "stderr", screen)
    patch.setenv("TERM", term)
    return screen


def test_on_a_terminal_there_is_a_bar_that_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch, "xterm")
    with progress("export", 10, bar=True) as shown:
        shown.say("[org_a] 2026-01")
        shown.advance(4)
    assert "[org_a] 2026-01" in screen.getvalue()
    assert "4/10" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")


def test_the_log_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "xterm")
    handler = logging.StreamHandler(screen)
    logging.getLogger().addHandler(handler)
    with progress("poll", 10, bar=True) as shown:
        shown.advance(4)
        logging.getLogger().warning("a line")
    logging.getLogger().removeHandler(handler)
    assert "\x1b[2Ka line\n" in screen.getvalue().replace("\r", "")
    assert handler.stream is screen


def test_in_a_pipe_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("backfill", 10, bar=True) as shown:
        shown.say("Acme 2026-01")
        shown.advance(1)
    assert capsys.readouterr().err == "Acme 2026-01\n"


def test_a_dumb_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "dumb")
    with progress("export", 10, bar=True) as shown:
        shown.advance(1)
    assert screen.getvalue() == ""
