"""docs/dependencies.md names what a plain install brings, no more and no less."""

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

DOCS = (Path(__file__).parents[1] / "docs" / "dependencies.md").read_text().split("Extras:")[0]
MOST = 20


def needs(name: str) -> set[str]:
    """Return what a distribution asks for on this machine, its extras left out."""
    requirements = [Requirement(text) for text in metadata.requires(name) or []]
    applying = [each for each in requirements if not each.marker or each.marker.evaluate()]
    return {each.name.lower().replace("_", "-") for each in applying}


def plain_install() -> set[str]:
    found, new = set(), needs("quota-watch")
    while new:
        found |= new
        new = {each for name in new for each in needs(name)} - found
    return found


def test_every_distribution_of_a_plain_install_is_named() -> None:
    named = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", DOCS))
    assert plain_install() - named == set()
    assert len(plain_install()) <= MOST


def test_what_is_asked_for_has_a_row() -> None:
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \|", DOCS, re.MULTILINE)) - {"asked for"}
    assert needs("quota-watch") <= rows
