"""Tests that the documentation says what is there, and of the pages that are made from the code."""

import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deepmusic_genre import exit_codes
from deepmusic_genre.cli import deepmusic
from deepmusic_genre.tracks.registry import SOURCES
from pipeline.settings import load_settings
from tools.docs_pages import CLI_PAGE, DEFAULTS, ROOT, SETTINGS_PAGE, cli_page, settings_page

pytestmark = pytest.mark.fast

DOCS = ROOT / "docs"
WHEEL_PAGE = DOCS / "package.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s# .*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| (?!---)(.+) \|$", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _fences(page: Path, language: str) -> list[str]:
    return [content for found, content in _FENCE.findall(_text(page)) if found == language]


def _code(page: Path) -> str:
    """A page's code: what stands in fences, without a shell's comments, and between backticks."""
    text = _text(page)
    return "\n".join(
        [*(_COMMENT.sub("", content) for _, content in _FENCE.findall(text)), *_SPAN.findall(_FENCE.sub("", text))]
    )


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them of usual words."""
    plain = (re.sub(r"[`*]", "", heading) for heading in _HEADING.findall(_FENCE.sub("", _text(page))))
    ascii_only = (unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode() for heading in plain)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in ascii_only}


def _column(page: Path, header: str, number: int) -> str:
    """A column of the table whose header row begins with ``header``."""
    (table,) = (part for part in _text(page).split("\n\n") if part.startswith(f"| {header} |"))
    return "\n".join(row.split(" | ")[number] for row in _ROW.findall(table)[1:])


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


SETTINGS = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
SETTING_NAMES = set(_flat(SETTINGS))
SECTIONS = [name for name, value in SETTINGS.items() if isinstance(value, dict)]


@pages
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", _text(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = _text(ROOT / "zensical.toml")
    missing = [page.name for page in DOCS.glob("*.md") if page != WHEEL_PAGE and f'"{page.name}"' not in navigation]
    assert missing == []


@pages
def test_make_targets_exist(page: Path) -> None:
    rules = re.findall(r"^([a-z][\w -]*):(?!=)", _text(ROOT / "Makefile"), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", _code(page)))
    assert named <= targets


def _command() -> click.Group:
    return deepmusic


@pages
def test_subcommands_exist(page: Path) -> None:
    for name, below in re.findall(r"(?<![\w/.-])deepmusic ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", _code(page)):
        context = click.Context(_command())
        command = _command().get_command(context, name)
        assert command is not None, f"deepmusic {name}"
        if isinstance(command, click.Group) and below:
            assert command.get_command(context, below) is not None, f"deepmusic {name} {below}"


@pages
def test_settings_exist(page: Path) -> None:
    section = rf"(?<![\w./-])(?:{'|'.join(SECTIONS)})"
    key = re.compile(rf"{section}\.(?!(?:json|sqlite)\b)[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
    assert set(key.findall(_code(page))) <= SETTING_NAMES


@pages
def test_assigned_settings_exist(page: Path) -> None:
    values = re.findall(r"\bSET=('[^']+'|[^\s'`]+)", _code(page))
    assignments = [each for value in values for each in shlex.split(shlex.split(value)[0])]
    assert {each.partition("=")[0] for each in assignments} <= SETTING_NAMES


@pages
def test_settings_files_can_be_used(page: Path, tmp_path: Path) -> None:
    for number, content in enumerate(_fences(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(content, encoding="utf-8")
        load_settings(file)


def test_file_endings_are_those_of_the_sources() -> None:
    named = [ending for ending in _SPAN.findall(_column(DOCS / "your-data.md", "form", 1)) if ending.startswith(".")]
    assert sorted(named) == sorted(suffix for source in SOURCES for suffix in source.suffixes)


@pytest.mark.parametrize(
    ("page", "header"),
    [(DOCS / "models.md", "model | reads"), (DOCS / "models.md", "model | accuracy"), (ROOT / "README.md", "model")],
)
def test_models_are_those_of_the_settings(page: Path, header: str) -> None:
    assert _SPAN.findall(_column(page, header, 0)) == list(load_settings().models.model_dump())


def test_exit_codes_are_all_explained() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert {str(code) for code in codes} <= set(_column(DOCS / "exit-codes.md", "code", 0).split())


def test_continuous_integration_runs_the_commands_of_the_readme() -> None:
    named = re.findall(r"^make [\w-]+", _fences(ROOT / "README.md", "sh")[0], re.MULTILINE)
    (job,) = yaml.safe_load(_text(WORKFLOW))["jobs"].values()
    run = [step["run"] for step in job["steps"] if "run" in step]
    assert run == named == ["make run-local", "make test"]


def test_page_of_the_settings_is_the_one_made_of_the_defaults() -> None:
    assert _text(SETTINGS_PAGE) == settings_page(_text(DEFAULTS)), "run python -m tools.docs_pages"


def test_page_of_the_command_line_is_the_one_made_of_the_command() -> None:
    assert _text(CLI_PAGE) == cli_page(_command()), "run python -m tools.docs_pages"


def test_every_setting_is_on_the_page_with_its_default() -> None:
    named, section, last = (
        "# What it is called,\n# in *words*.\nname: me",
        "data:\n  # A <folder>.\n  path: null",
        "# Last.\nend: 1",
    )
    page = settings_page(f"{named}\n\n{section}\n{last}\n")
    assert "## General\n\n### `name`\n\nWhat it is called, in \\*words\\*.\n\nDefault: `me`\n" in page
    assert (
        "### `end`\n\nLast.\n\nDefault: `1`\n\n## data\n\n### `data.path`\n\nA \\<folder>.\n\nDefault: `null`\n" in page
    )


def test_setting_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.path has no comment"):
        settings_page("data:\n  path: null\n")


def _small_command() -> click.Group:
    root = click.Group("root", help="All of it.")
    group = click.Group("group", help="A group.")
    option = click.Option(["--form"], type=click.Choice(["a", "b"]), default="a", show_default=True, help="Of <what>.")
    argument = click.Argument(["track"], nargs=-1, metavar="TRACK...")
    text = "Does it.\n\nLonger.\n\n\b\nkept\n  as it is"
    group.add_command(click.Command("leaf", params=[option, argument], help=text))
    root.add_command(group)
    root.add_command(click.Command("secret", hidden=True))
    return root


def test_page_of_a_command_has_its_subcommands_with_usage_and_options() -> None:
    page = cli_page(_small_command(), "root")
    assert "## root group\n\nA group.\n\n```text\nroot group [OPTIONS] COMMAND [ARGS]...\n```\n" in page
    leaf = "## root group leaf\n\nDoes it.\n\nLonger.\n\n```text\nkept\n  as it is\n```\n"
    assert f"{leaf}\n```text\nroot group leaf [OPTIONS] TRACK...\n```\n\n" in page
    assert "- `--form [a|b]`: Of \\<what>. [default: a]\n" in page
    assert "secret" not in page
