"""What people read says things plainly: sentences that readers stumbled over don't come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READ = [
    *(path for folder in ("quota_watch", "templates") for path in (ROOT / folder).rglob("*.*")),
    *(ROOT / "docs").glob("*.*"),
    *(ROOT / "deploy").glob("*.*"),
    *ROOT.glob("*.md"),
    ROOT / "config.example.toml",
]
TEXTS = {
    path.relative_to(ROOT).as_posix(): " ".join(path.read_text("utf-8").split())
    for path in READ
    if path.suffix in {".py", ".j2", ".json", ".md", ".toml", ".js", ".yml", ".svg"}
}
STUMBLED_OVER = (
    "will probably be full",
    "almost certain",
    "might be full",
    "too early to be sure",
    "So far this was a risk",
    "Upgraded from possible to likely",
    "clearly sooner than",
    "What was foretold",
    "foretold",
    "foretell",
    "If it goes on like this",
    r"chances in 5\b",
    "four chances in five",
    "is then passed on",
    "odds that it does not",
    "less has to come",
    "No setting of Rybbit saves",
    "may come",
    r"(?i)takes (?:its )?events again",
    "let less come",
    "dropping its events",
    r"\(or within 30 minutes\)",
    "With every day about",
    "a link that spreads",
    "is as expected again",
    "Rybbit says so for",
    "What it should tell is kept",
    "What was given up",
    "no change holds yet",
    r"went over the limit and \d* ?fine",
    r"without \d* ?unknown",
    "Show what was told",
    "heartbeat goes on",
    "what waits for company",
    "After so long without a write",
    "small letters",
    "not all could be ended",
    "nothing foreseen",
)


@pytest.mark.parametrize("sentence", STUMBLED_OVER)
def test_no_sentence_that_readers_stumbled_over_is_left(sentence):
    assert [name for name, text in TEXTS.items() if re.search(sentence, text)] == []


def test_enough_is_read():
    assert len(TEXTS) > 150
