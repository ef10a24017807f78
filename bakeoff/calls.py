"""The command-line application, which reports a wrong call in one line, like any other mistake of the user."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from data.base.errors import did_you_mean, in_short
from search.base import console


class Commands(TyperGroup):
    """A group of commands. A wrong call ends it with one line on standard error and exit status 2, where typer would
    draw a box of several lines."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        def run(standalone_mode: bool) -> Any:
            return super(Commands, self).main(
                args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra
            )

        arguments = sys.argv[1:] if args is None else args
        if not standalone_mode or not arguments:  # without arguments, typer prints the help
            return run(standalone_mode)
        try:
            status = run(standalone_mode=False)
        except typer.TyperException as error:
            console.fail(_line(error), error.exit_code)
        except typer.Abort:
            console.fail("aborted", status=1)
        sys.exit(status if isinstance(status, int) else 0)


def application(help_: str) -> typer.Typer:
    """An application to which modules add commands."""
    return typer.Typer(
        cls=Commands, help=help_, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def _line(error: typer.TyperException) -> str:
    """What is wrong with a call: the rule, the value, the nearest valid choice, and where to read more."""
    context: Any = getattr(error, "ctx", None)
    message = error.format_message()
    if option := getattr(error, "option_name", None):
        if message.startswith("No such option"):
            message = f"no option {option}{did_you_mean(option, _options(context), else_all=False)}"
    elif message.startswith("No such command"):
        name = message.split("'")[1]
        message = f"unknown command {name!r}{did_you_mean(name, context.command.commands)}"
    elif parameter := getattr(error, "param", None):
        message = _of_value(error, parameter) or message
    message = f"{message[:1].lower()}{message[1:]}"
    see = f"; see {context.command_path} --help" if context else ""
    return in_short(message.rstrip(".")) + see


def _options(context: Any) -> Iterable[str]:
    for parameter in context.command.params if context else ():
        if parameter.param_type_name == "option" and not parameter.hidden:
            yield from (*parameter.opts, *parameter.secondary_opts)
    yield "--help"


def _of_value(error: typer.TyperException, parameter: Any) -> str:
    """'--seeds 0: should be greater than or equal to 1; nearest: 1'; '' where no value was given."""
    if not hasattr(error.__cause__, "errors"):  # typer validates with pydantic
        return ""
    (problem, *_) = error.__cause__.errors()  # type: ignore[union-attr]
    name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
    bounds = problem.get("ctx", {})
    nearest = next((f"; nearest: {bounds[bound]}" for bound in ("ge", "le") if bound in bounds), "")
    return f"{name} {problem['input']!s:.80}: {problem['msg'].removeprefix('Input ')}{nearest}"
