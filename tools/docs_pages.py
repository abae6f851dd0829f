"""``python -m tools.docs_pages``: writes the pages of the documentation that are made from the code.

``docs/settings.md`` comes from ``pipeline/defaults.yaml``, whose comments say what each setting means, and
``docs/cli.md`` from the command ``deepmusic``. Both are committed; a test compares them with what this module makes.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeGuard, cast

import click
import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
CLI_PAGE = ROOT / "docs" / "cli.md"
DEFAULTS = ROOT / "pipeline" / "defaults.yaml"

_WIDTH = 120

_SETTINGS_TOP = """\
<!-- Made from pipeline/defaults.yaml by python -m tools.docs_pages. -->

# Settings

Every setting has a default in `pipeline/defaults.yaml`. Your own file names only the settings that differ. The command
line overrides both:

```sh
make run-local SETTINGS=mine.yaml SET='models.c1m1.epochs=20 data.split_by=track' VERBOSE=1
```

```yaml
# mine.yaml
name: mine
training:
  models: [c1m1, c2m1, tangent]
```

An unknown key or an impossible value is refused before anything runs. `null` means that a setting has no value.

Settings that are often wanted:

- Choose models: `training.models=[c1m1,c1m2,c2m1,tangent,ear]`.
- Make genres equally frequent by leaving tracks out: `training.sampling=downsampled` for the training split, or
  `downsampled_everywhere`.
- Make rare genres count more in training: `training.balance=class_weights` or `balanced_batches`.
- Search hyper-parameters: `tuning.enabled=true tuning.trials=30`. The run writes the result to
  `output/<name>/tuned.yaml`; pass that file as `SETTINGS=`.
- Demand more before a push: `evaluation.min_macro_f1=0.5 evaluation.min_genre_f1='{Jazz: 0.3}'`.

Secrets are never settings, because a run keeps its settings with its artifacts. Give them in the environment.
"""

_CLI_TOP = """\
<!-- Made from the command's own help by python -m tools.docs_pages. -->

# The command line

One command does everything: `deepmusic`. In the checkout it is `.venv/<environment>/bin/deepmusic`, and most of its
subcommands are also targets of `make`, which set up the environment first:

```sh
make run-local DATA=analyses LABELS=labels.csv NAME=mine SET='training.seed=1 tuning.enabled=true' VERBOSE=1
.venv/tfx-1.16/bin/deepmusic run --data analyses --labels labels.csv --name mine --set training.seed=1 \\
  --set tuning.enabled=true --verbose
```

`pip install .` on another machine gives `deepmusic predict` without TFX and TensorFlow. The [exit codes](exit-codes.md)
are the same for all subcommands.
"""


def settings_page(defaults: str) -> str:
    """The page of the settings.

    Args:
        defaults: The text of ``defaults.yaml``: YAML with a comment above each key.

    Raises:
        ValueError: A setting has no comment.
    """
    lines = defaults.splitlines()
    general, sections = ["## General\n"], []
    for key, value, comment in _keys(cast("yaml.MappingNode", yaml.compose(defaults)), lines):
        if not _is_section(value):
            general.append(_setting(key, value, comment, defaults))
            continue
        sections.append(f"## {key}\n" + (f"\n{_paragraph(comment)}\n" if comment else ""))
        sections.extend(
            _setting(f"{key}.{name}", child, meaning, defaults) for name, child, meaning in _keys(value, lines)
        )
    return "\n".join([_SETTINGS_TOP, *general, *sections])


def _keys(mapping: yaml.MappingNode, lines: list[str]) -> Iterator[tuple[str, yaml.Node, str]]:
    """Each key of a mapping with its value and the comment above it."""
    for key, value in mapping.value:
        first = last = key.start_mark.line
        while first > 0 and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        comment = " ".join(line.lstrip().removeprefix("#").strip() for line in lines[first:last])
        yield key.value, value, comment


def _is_section(node: yaml.Node) -> TypeGuard[yaml.MappingNode]:
    return isinstance(node, yaml.MappingNode) and not node.flow_style


def _setting(key: str, value: yaml.Node, comment: str, defaults: str) -> str:
    if not comment:
        raise ValueError(f"{key} has no comment in pipeline/defaults.yaml")
    default = defaults[value.start_mark.index : value.end_mark.index]
    return f"### `{key}`\n\n{_paragraph(comment)}\n\nDefault: `{default}`\n"


def _paragraph(text: str) -> str:
    return "\n".join(textwrap.wrap(_escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False))


def _escaped(text: str) -> str:
    """Text in which Markdown finds no HTML and no emphasis."""
    for character in "<*_":
        text = text.replace(character, f"\\{character}")
    return text


def command() -> click.Command:
    """The command ``deepmusic``. It is imported late: a page of settings needs none of it."""
    return cast("click.Command", import_module("deepmusic_genre.cli").deepmusic)


def cli_page(root: click.Command, name: str = "deepmusic") -> str:
    """The page of a command and all of its subcommands, from their help."""
    context = click.Context(root, info_name=name)
    return "\n".join([_CLI_TOP, *_subcommands(root, context)])


def _subcommands(group: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        subcommand = group.get_command(context, name)
        if subcommand is None or subcommand.hidden:
            continue
        below = click.Context(subcommand, info_name=name, parent=context)
        yield _described(subcommand, below)
        yield from _subcommands(subcommand, below)


def _described(subcommand: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *subcommand.collect_usage_pieces(context)])
    parts = [f"## {context.command_path}", *_help(subcommand), f"```text\n{usage}\n```"]
    options = [record for parameter in subcommand.params if (record := parameter.get_help_record(context))]
    parts.append("\n".join(f"- `{names}`: {_escaped(' '.join(meaning.split()))}" for names, meaning in options))
    return "\n\n".join(filter(None, parts)) + "\n"


def _help(subcommand: click.Command) -> Iterator[str]:
    """The paragraphs of a command's help; click leaves the lines of one that begins with a backspace as they are."""
    for paragraph in inspect.cleandoc(subcommand.help or "").split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        yield _paragraph(paragraph) if kept == paragraph else f"```text\n{kept}\n```"


def main() -> None:
    """Writes both pages."""
    SETTINGS_PAGE.write_text(settings_page(DEFAULTS.read_text(encoding="utf-8")), encoding="utf-8")
    CLI_PAGE.write_text(cli_page(command()), encoding="utf-8")


if __name__ == "__main__":
    main()
