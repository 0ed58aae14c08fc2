"""From the cards to commands: which systems exist, and one command for each, made from its dataclass of options."""

import dataclasses
import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from lib.commands import Report, System
from lib.errors import UserError
from lib.papers import load_cards

LIB = Path(__file__).resolve().parents[1]


def exists(system: str) -> bool:
    """Whether the system is written. Looks for a file, because importing a system takes seconds."""
    return (LIB / system / "command_line.py").is_file()


def system_named(name: str) -> System:
    """The commands of a system. Raises UserError when there is no such system, or it is not written yet."""
    names = [card.id for card in load_cards()]
    present = ", ".join(filter(exists, names))
    if name not in names:
        raise UserError(f"system '{name}' is not known: choose one of {present}.")
    if not exists(name):
        raise UserError(f"system '{name}' is not there yet: choose one of {present}.")
    return importlib.import_module(f"lib.{name}.command_line")


class SystemGroup(TyperGroup):
    """``papers VERB SYSTEM``: one command a system, imported only when it is called."""

    def list_commands(self, context) -> list[str]:
        return [card.id for card in load_cards() if exists(card.id)]

    def get_command(self, context, name: str) -> TyperCommand:
        system, verb = system_named(name), context.info_name
        if not hasattr(system, verb):
            raise UserError(f"system '{name}' has nothing to {verb}.")
        return command_of(getattr(system, verb), name)

    def parse_args(self, context, arguments: list[str]) -> list[str]:
        first = arguments[0] if arguments else ""
        if first != "--help" and (not first or first.startswith("-")):
            names = ", ".join(self.list_commands(context))
            raise UserError(f"name the system first: `papers {context.info_name} SYSTEM ...`, SYSTEM one of {names}.")
        return super().parse_args(context, arguments)

    def format_commands(self, context, formatter) -> None:
        with formatter.section("Systems"):
            formatter.write_dl([(card.id, card.short_name) for card in load_cards() if exists(card.id)])


class SpreadingCommand(TyperCommand):
    """A command whose list options take several values after one flag: ``--nfe 1 2 4``."""

    def parse_args(self, context, arguments: list[str]) -> list[str]:
        flags = {flag for option in self.params if getattr(option, "multiple", False) for flag in option.opts}
        return super().parse_args(context, spread(arguments, flags))


_NUMBERS = re.compile(r"-?\d+(,-?\d+)+")


def spread(arguments: Iterable[str], flags: set[str]) -> list[str]:
    """Repeat a flag before each of its values, which is the only form that the parser knows.

    >>> spread(["--nfe", "1", "2", "--nfe=4,8", "--json"], {"--nfe"})
    ['--nfe', '1', '--nfe', '2', '--nfe', '4', '--nfe', '8', '--json']
    """
    result: list[str] = []
    flag, values = None, 0
    for word in itertools.chain.from_iterable(_apart(argument, flags) for argument in arguments):
        if flag is not None and (not word.startswith("-") or word[1:2].isdigit()):
            for value in word.split(",") if _NUMBERS.fullmatch(word) else [word]:
                result += [flag, value]
            values += 1
            continue
        if flag is not None and not values:
            result.append(flag)  # the parser says that its value is missing
        flag, values = (word, 0) if word in flags else (None, 0)
        if flag is None:
            result.append(word)
    return [*result, flag] if flag is not None and not values else result


def _apart(word: str, flags: set[str]) -> list[str]:
    """``--nfe=4`` as two words."""
    name, equals, value = word.partition("=")
    return [name, value] if equals and name in flags else [word]


def command_of(function: Callable, name: str) -> TyperCommand:
    """A command whose flags are the fields of the dataclass that ``function`` takes, and that prints its Report."""
    (parameter,) = inspect.signature(function).parameters.values()
    options_type = get_type_hints(function)[parameter.name]

    def run(**values):
        options = options_type(**values)
        show(function(options), getattr(options, "as_json", False))

    run.__signature__ = inspect.Signature(_parameters(options_type))
    run.__annotations__ = {}
    run.__doc__ = inspect.getdoc(function).partition("\n\n")[0]
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=SpreadingCommand)(run)
    return typer.main.get_command(app)


def show(report: Report | None, as_json: bool) -> None:
    """Print a report on stdout; nothing for a process that only helps another."""
    import json

    if report is not None:
        print(json.dumps(report.record, indent=1, ensure_ascii=False, allow_nan=False) if as_json else report.text)


def _parameters(options_type: type) -> list[inspect.Parameter]:
    hints = get_type_hints(options_type, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in dataclasses.fields(options_type)
    ]


def _default(field: dataclasses.Field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
