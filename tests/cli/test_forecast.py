"""`forecast --stdin` as a process: one line in, one line out, at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

FIRST = date(2024, 1, 1)
HISTORY = [[(FIRST + timedelta(days=n)).isoformat(), 100] for n in range(41)]
QUESTION = {
    "history": HISTORY,
    "period_start": "2024-02-01",
    "period_end": "2024-02-29",
    "as_of": "2024-02-10",
}


class Process:
    def __init__(self, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "quota_watch", "forecast", "--stdin"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: object) -> dict:
        """Write one line and wait for its answer while stdin stays open."""
        self.child.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def end(self) -> int:
        self.child.communicate(timeout=30)
        return self.child.returncode


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.end()


def test_a_line_is_answered_while_more_may_come(process) -> None:
    answer = process.ask(QUESTION)
    assert set(answer) == {"p10", "p50", "p90", "warn_at", "path"}
    assert answer["p50"] == pytest.approx(2900, rel=0.01)
    assert len(answer["path"]) == 19


def test_a_limit_brings_the_odds_and_the_days(process) -> None:
    answer = process.ask(QUESTION | {"limit": 2000})
    assert answer["probability_over"] > 0.99
    assert answer["crosses_on"]["likely"] == "2024-02-21"


def test_a_crossing_outside_the_period_is_null(process) -> None:
    answer = process.ask(QUESTION | {"limit": 10**6})
    assert answer["crosses_on"] == {"early": None, "likely": None, "late": None}


def test_too_early_is_said_without_numbers(process) -> None:
    answer = process.ask(QUESTION | {"history": HISTORY[-2:]})
    assert answer["p50"] is None
    assert answer["too_early"] == {"days": 2, "needed": 3}


def test_the_same_line_has_the_same_answer(process) -> None:
    assert process.ask(QUESTION) == process.ask(QUESTION)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "JSON is malformed"),
        ("[]", "Expected `object`"),
        ("[" * 100_000, "Expected `object`"),
        (b"\xff".decode("latin-1"), "JSON is malformed"),
        ({}, "history"),
        (QUESTION | {"history": [["2024-01-01", -1]]}, "$.history[0][1]"),
        (QUESTION | {"history": [["2024-01-01", 1.5]]}, "$.history[0][1]"),
        (QUESTION | {"history": [["2024-01-01", 10**400]]}, "$.history[0][1]"),
        (QUESTION | {"history": [["yesterday", 1]]}, "$.history[0][0]"),
        (QUESTION | {"as_of": None}, "$.as_of"),
        (QUESTION | {"as_of": "2024-03-01"}, "as_of 2024-03-01"),
        (QUESTION | {"as_of": "2024-01-30"}, "as_of 2024-01-30"),
        (QUESTION | {"as_of": "0001-01-01"}, "as_of 0001-01-01"),
        (QUESTION | {"as_of": "9999-12-31"}, "as_of 9999-12-31"),
        (QUESTION | {"period_end": "2026-01-31"}, "a period of 731 days: at most 366"),
        (QUESTION | {"period_end": "2023-02-01"}, "period_end 2023-02-01"),
        (QUESTION | {"period_end": "9999-12-31"}, "period_end 9999-12-31"),
        (QUESTION | {"period_end": "9999-12-30"}, "at most 366"),
        (QUESTION | {"limit": "many"}, "$.limit"),
    ],
)
def test_a_bad_line_is_told_and_the_next_one_answered(process, line, words) -> None:
    assert words in process.ask(line)["error"]
    assert process.ask(QUESTION)["p50"] > 0
    assert process.end() == 1


def test_without_a_bad_line_the_end_is_good(process) -> None:
    process.ask(QUESTION)
    assert process.end() == 0


def test_the_process_stays_small(process) -> None:
    process.ask(QUESTION)
    status = Path(f"/proc/{process.child.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 30 * 1024


def test_without_stdin_it_says_how_it_is_used(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "quota_watch", "forecast"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "--stdin" in result.stderr


def test_the_date_of_the_answer_before_is_kept_while_it_holds(process) -> None:
    question = QUESTION | {"limit": 2005}
    fresh = process.ask(question)
    assert fresh["crosses_on"]["likely"] == "2024-02-21"
    before = fresh["memory"] | {"likely": "2024-02-20"}
    answer = process.ask(question | {"previous": fresh | {"memory": before}})
    assert answer["crosses_on"]["likely"] == "2024-02-20"
    other = process.ask(question | {"previous": fresh | {"memory": before | {"limit": 9}}})
    assert other == fresh


def test_an_answer_before_that_is_none_is_refused(process) -> None:
    answer = process.ask(QUESTION | {"limit": 2000, "previous": 7})
    assert answer == {"error": "previous: must be the answer given before, a JSON object"}
