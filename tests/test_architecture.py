"""The house is as docs/architecture.md describes it."""

import ast
import re
import statistics
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from quota_watch.model.watch import Rule
from quota_watch.rules.registry import REGISTRY

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "quota_watch"
TREES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
OUTERMOST = {"cli", "service", "demo"}

Node = TypeVar("Node", bound=ast.AST)


def room_of(path: Path) -> str:
    return path.parts[1]


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def section(heading: str) -> str:
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def nodes(of: type[Node]) -> Iterator[tuple[Path, Node]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, of))


def is_error(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)


def test_each_file_that_it_names_is_there() -> None:
    named = re.findall(r"`(\w+/[\w/.]*)`", PAGE)
    assert [name for name in named if not any((at / name).exists() for at in (PACKAGE, ROOT))] == []


def test_it_lists_every_room_in_the_order_of_the_layers() -> None:
    rooms = re.findall(r"^\| `(\w+)/` \|", section("The rooms"), re.MULTILINE)
    assert rooms == LAYERS
    assert set(rooms) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_each_name_that_it_uses_is_defined() -> None:
    classes = {node.name for _, node in nodes(ast.ClassDef)}
    functions = {node.name for _, node in nodes(ast.FunctionDef)} | {"jsonify"}
    assert set(re.findall(r"`([A-Z]\w+)`", PAGE)) - classes == set()
    assert set(re.findall(r"`([a-z]+_\w+)(?:\(\))?`", PAGE)) - functions == set()


def test_the_glossary_names_every_type_that_crosses_rooms() -> None:
    homes = {
        (module_of(path), node.name): room_of(path)
        for path, node in nodes(ast.ClassDef)
        if not is_error(node)
    }
    crossing = {
        alias.name
        for path, node in nodes(ast.ImportFrom)
        for alias in node.names
        if homes.get((node.module or "", alias.name), room_of(path)) != room_of(path)
        if room_of(path) not in OUTERMOST
    }
    assert crossing - set(re.findall(r"`(\w+)`", section("Glossary"))) == set()


def test_a_class_name_stands_for_one_class() -> None:
    names = Counter(node.name for _, node in nodes(ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_rule_is_the_file_of_its_name() -> None:
    judged = {rule for rule, entry in REGISTRY.items() if entry.verdict is not None}
    assert set(REGISTRY) == set(Rule)
    assert [rule for rule in judged if not (PACKAGE / "rules" / f"{rule}.py").exists()] == []


def test_functions_are_short() -> None:
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1 for _, node in nodes(ast.FunctionDef)
    )
    assert statistics.median(lengths) <= 9
    assert lengths[len(lengths) * 95 // 100] <= 30
