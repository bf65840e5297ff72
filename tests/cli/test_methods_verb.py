"""The list of methods: what the source says is what a learner gets, and nothing is imported to say it."""

from __future__ import annotations

import inspect

import pytest

from tenuto import methods
from tenuto.cli.methods import read
from tenuto.parts import find, names
from tests.cli.conftest import document, within
from tests.cli.test_looking import imported

METHODS = names("tenuto.methods")


@pytest.mark.parametrize("name", METHODS)
def test_what_is_read_is_what_is_there(name: str) -> None:
    told, module = read(name), find("tenuto.methods", "method", name)
    assert told.text == inspect.getdoc(module)
    takes = inspect.signature(module.recipe).parameters
    assert {option.name: option.default for option in told.options} == {
        option: parameter.default for option, parameter in takes.items()
    }
    assert {option.name: option.limits for option in told.options} == methods.options(name)
    assert all(option.help and option.type for option in told.options)


def test_it_lists_every_method() -> None:
    done = within("methods")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == METHODS
    told = document(within("methods", "--json"))["methods"]
    assert [method["name"] for method in told] == METHODS
    assert all(method["about"] for method in told)


def test_it_tells_of_one_method() -> None:
    told = document(within("methods", "der++", "--json"))
    assert told["name"] == "derpp"
    assert told["options"][0] == {
        "name": "alpha",
        "type": "float",
        "default": 1.0,
        "low": 0.0,
        "high": None,
        "usual": [0.1, 1.0],
        "choices": None,
        "unit": "nats per squared logit",
        "help": "weight of the stored outputs.",
    }
    text = within("methods", "derpp").stdout
    assert "||z - z_stored||^2" in text
    assert "float, at least 0; usually 0.1 to 1 nats per squared logit; default 1.0" in text


def test_an_unknown_method_names_the_known() -> None:
    done = within("methods", "eer", "--json")
    assert done.returncode == 1
    assert "unknown method 'eer'; known: agem, " in done.stderr
    assert document(done)["error"]["kind"] == "ConfigError"


def test_it_imports_nothing_heavy() -> None:
    assert imported("methods") == imported("methods", "gem", "--json") == set()
