"""tenuto methods: what there is to learn with, read from the source of each method, which is not imported."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from tenuto import parts
from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, write
from tenuto.config import Limits
from tenuto.errors import ConfigError

METHODS = "tenuto.methods"


class Option(Struct, frozen=True):
    """An option of a method: its type as it is written, its default, its limits, what it means."""

    name: str
    type: str
    default: Any
    limits: Limits
    help: str


class Method(Struct, frozen=True):
    """A method: its name, the text it opens with, its options."""

    name: str
    text: str
    options: tuple[Option, ...]

    @property
    def title(self) -> str:
        """Its first line."""
        return self.text.partition("\n")[0]


@click.command()
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> int:
    """List the methods, or tell of the method NAME and its options.

    An option goes to a learner as `tenuto learn --method NAME --option NAME=VALUE`.
    """
    if name is not None:
        method = read(name)
        if as_json:
            emit(_plain(method))
        else:
            _tell(method)
        return Exit.OK
    known = [read(each) for each in parts.names(METHODS)]
    if as_json:
        emit({"methods": [_plain(method) for method in known]})
    else:
        facts({method.name: method.title for method in known})
    return Exit.OK


def read(name: str) -> Method:
    """A method as its file says; "der++" is the file `derpp`.

    >>> [(option.name, option.default, option.limits.usual) for option in read("der++").options]
    [('alpha', 1.0, (0.1, 1.0)), ('beta', 0.5, (0.5, 1.0))]
    """
    file = name.replace("+", "p").replace("-", "_")
    known = parts.names(METHODS)
    if file not in known:
        raise ConfigError(f"unknown method {name!r}; known: {', '.join(known)}")
    source = _source(f"{METHODS}.{file}")
    make = next(n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == "recipe")
    arguments = [*make.args.args, *make.args.kwonlyargs]
    defaults = [*make.args.defaults, *make.args.kw_defaults]
    helps = _helps(ast.get_docstring(make) or "")
    found = []
    for argument, default in zip(arguments, defaults, strict=True):
        kind, limits = _declared(argument.annotation, source)
        value = None if default is None else _value(default, source)
        found.append(Option(argument.arg, kind, value, limits, helps.get(argument.arg, "")))
    return Method(file, ast.get_docstring(source) or "", tuple(found))


def _source(module: str) -> ast.Module:
    """The syntax of a module of this package, which is found and not imported."""
    package, *inside = module.split(".")
    spec = importlib.util.find_spec(package)
    folder = Path((spec.submodule_search_locations or [""])[0] if spec else "")
    return ast.parse(folder.joinpath(*inside).with_suffix(".py").read_text())


def _declared(annotation: ast.expr | None, source: ast.Module) -> tuple[str, Limits]:
    """The type and the limits of `Annotated[type, Limits(...)]`, or of a type alone."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated"):
        return "" if annotation is None else ast.unparse(annotation), Limits()
    kind, *beside = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    for node in beside:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Limits":
            given = {word.arg: _value(word.value, source) for word in node.keywords if word.arg}
            return ast.unparse(kind), Limits(**given)
    return ast.unparse(kind), Limits()


def _value(node: ast.expr, source: ast.Module) -> Any:
    """The value of a literal, a quotient, or a name that stands for one here or where it comes from."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _value(node.left, source) / _value(node.right, source)
    if not isinstance(node, ast.Name):
        return ast.literal_eval(node)
    for statement in source.body:
        if isinstance(statement, ast.Assign) and node.id in map(ast.unparse, statement.targets):
            return _value(statement.value, source)
        if (
            isinstance(statement, ast.AnnAssign)
            and ast.unparse(statement.target) == node.id
            and statement.value
        ):
            return _value(statement.value, source)
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                if node.id == (alias.asname or alias.name):
                    return _value(ast.Name(alias.name), _source(statement.module))
    raise ConfigError(f"the value of {node.id!r} cannot be read without importing it; write it out")


def _helps(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring say, by name.

    >>> _helps("A.\\n\\nArgs:\\n    one: this and\\n        that.\\n    two: more.\\n\\n>>> 1")
    {'one': 'this and that.', 'two': 'more.'}
    """
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if line.startswith("     "):
            found[name] += f" {line.strip()}"
            continue
        name, _, text = line.strip().partition(": ")
        found[name] = text
    return found


def _plain(method: Method) -> dict[str, Any]:
    told = []
    for option in method.options:
        limits = asdict(option.limits) | {"help": option.help}
        limits |= {end: None for end in ("low", "high") if abs(limits[end]) == float("inf")}
        told.append({"name": option.name, "type": option.type, "default": option.default, **limits})
    return {
        "name": method.name,
        "about": method.title,
        "text": inspect.cleandoc(method.text),
        "options": told,
    }


def _tell(method: Method) -> None:
    """A method for a person."""
    write(method.name, bold=True)
    write(method.text)
    if method.options:
        write("")
    facts({option.name: [option.help, _range(option)] for option in method.options})


def _range(option: Option) -> str:
    """What an option may be, what it usually is, and what it is when it is left out."""
    limits = option.limits
    if limits.choices:
        may = " or ".join(limits.choices)
    elif abs(limits.low) == abs(limits.high) == float("inf"):
        may = option.type
    elif limits.high == float("inf"):
        may = f"{option.type}, at least {limits.low:g}"
    else:
        may = f"{option.type}, {limits.low:g} to {limits.high:g}"
    usual = f"; usually {limits.usual[0]:g} to {limits.usual[1]:g}" if limits.usual else ""
    unit = f" {limits.unit}" if limits.unit else ""
    return f"{may}{usual}{unit}; default {option.default}"
