"""What the docs say and what the program has are the same."""

import re
from pathlib import Path

import click
import pytest

from quota_watch.cli.app import EXAMPLES, cli
from quota_watch.model.source import ErrorKind
from quota_watch.model.watch import Rule
from quota_watch.rules.verdict import Reason

ROOT = Path(__file__).parents[1]
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
WEBHOOK = (ROOT / "docs" / "webhook.md").read_text()


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    inner = {
        f"{name} {each}": command
        for name, group in found.items()
        if isinstance(group, click.Group)
        for each, command in group.commands.items()
    }
    return found | inner


@pytest.mark.parametrize("name", list(commands()))
def test_the_help_of_every_command_ends_with_two_examples_of_it(name: str) -> None:
    command = commands()[name]
    with click.Context(command, info_name=name, max_content_width=100) as context:
        *_, heading, first, second = command.get_help(context).splitlines()
    assert heading.strip() == "Examples:"
    for line in (first, second):
        assert re.match(rf"\s+quota-watch (?:\S+ )*{name.split(maxsplit=1)[0]}", line)


@pytest.mark.parametrize("name", list(commands()))
def test_examples_name_options_that_there_are(name: str) -> None:
    options = {option for each in commands()[name].params for option in each.opts}
    for example in EXAMPLES[name]:
        after = example.partition(name)[2].partition("#")[0]
        assert set(re.findall(r"(?<=\s)--[a-z-]+", after)) <= options


def test_every_command_stands_in_the_docs_and_no_other() -> None:
    table = COMMANDS[: COMMANDS.index("## JSON")]
    named = {name.split()[0] for name in commands()}
    assert set(re.findall(r"^\| `([a-z-]+)", table, re.MULTILINE)) == named


@pytest.mark.parametrize("name", list(commands()))
def test_every_option_stands_in_the_row_of_its_command(name: str) -> None:
    row = "\n".join(line for line in COMMANDS.splitlines() if f"`{name}" in line)
    options = [option for each in commands()[name].params for option in each.opts if "--" in option]
    assert row
    assert [option for option in options if not re.search(rf"{option}(?![\w-])", row)] == []


@pytest.mark.parametrize(
    ("words", "page"), [(Rule, COMMANDS), (ErrorKind, COMMANDS), (Reason, WEBHOOK)]
)
def test_every_rule_reason_and_error_stands_in_the_docs(words, page) -> None:
    assert [word for word in words if f"`{word}`" not in page] == []


PAGES = [ROOT / "README.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    first, second, *_ = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    assert len(text.split()) <= 600
    assert [kind for kind, _ in (first, second)] == ["sh", "sh"]
    assert all(len(block.strip().splitlines()) == 1 for _, block in (first, second))


RECIPES = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_loads_as_it_stands(recipe: str, tmp_path: Path) -> None:
    from quota_watch.config import load

    least = {
        "[[organizations]]": '[[organizations]]\nid = "org_abc"\n',
        "[channels.ops]": '[channels.ops]\ntype = "email"\nto = ["a@b.example"]\n',
        "[rybbit]": '[rybbit]\napi_key = "env:KEY"\n',
        "[smtp]": '[smtp]\nhost = "b.example"\nfrom = "q@b.example"\n',
    }
    rest = [text for heading, text in least.items() if heading not in recipe]
    (tmp_path / "config.toml").write_text("\n".join([recipe, *rest]))
    assert load(tmp_path / "config.toml").organizations


def test_the_config_of_the_readme_loads(tmp_path: Path) -> None:
    from quota_watch.config import load

    (config,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "config.toml").write_text(config)
    assert load(tmp_path / "config.toml").watches()[0].auto
