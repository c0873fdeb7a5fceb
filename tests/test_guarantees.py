"""What the docs guarantee is proved by tests that exist."""

import re
from pathlib import Path

import pytest

from quota_watch.storage.deliveries import DeliveryReason, DeliveryState

ROOT = Path(__file__).parents[1]
GUARANTEES = re.split(r"^\d\. ", (ROOT / "docs" / "guarantees.md").read_text(), flags=re.MULTILINE)


def test_there_are_five() -> None:
    assert len(GUARANTEES[1:]) == 5


@pytest.mark.parametrize("guarantee", GUARANTEES[1:])
def test_each_names_tests_that_exist(guarantee: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", guarantee)
    assert named
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("word", [*DeliveryState, *DeliveryReason, "retry", "split", "interrupted"])
def test_every_word_of_deliveries_is_documented(word: str) -> None:
    assert f"`{word}`" in (ROOT / "docs" / "deliveries.md").read_text()
