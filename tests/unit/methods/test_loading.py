"""Methods by name: their options, their recipes, and what their names may look like."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto import Learner, OnlineLearnerConfig, Recipe, Replay, methods
from tenuto.errors import ConfigError
from tenuto.parts import find


@pytest.mark.parametrize("name", methods.known())
def test_a_method_is_a_recipe_of_its_own_name(name: str) -> None:
    recipe = methods.load(name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name
    assert len({replay.name for replay in recipe.replay}) == len(recipe.replay)


@pytest.mark.parametrize("name", methods.known())
def test_a_method_says_what_it_is_and_what_its_options_mean(name: str) -> None:
    module = find("tenuto.methods", "method", name)
    assert module.__doc__
    make = module.recipe
    for option in inspect.signature(make).parameters.values():
        assert option.default is not inspect.Parameter.empty
        assert f"{option.name}:" in (make.__doc__ or "")


@pytest.mark.parametrize("name", methods.known())
def test_two_recipes_of_a_method_share_no_part(name: str) -> None:
    one, other = (dict(methods.load(name).parts()) for _ in range(2))
    assert one.keys() == other.keys()
    assert all(one[part] is not other[part] for part in one)


def test_shared_mathematics_is_no_method() -> None:
    assert "shared" not in methods.known()
    assert {"naive", "er", "der", "derpp", "lwf", "joint"} <= set(methods.known())


def test_a_new_file_is_a_new_method(tmp_path: Path) -> None:
    """In a process of its own, with a folder of one more method."""
    (tmp_path / "echo.py").write_text(
        "from tenuto.methods.shared.recipe import Recipe, Replay\n"
        "def recipe(ratio: float = 0.25) -> Recipe:\n"
        "    return Recipe(name='echo', replay=(Replay(ratio=ratio),))\n"
    )
    code = (
        "import sys, tenuto.methods as m\n"
        "m.__spec__.submodule_search_locations.append(sys.argv[1])\n"
        "print('echo' in m.known(), m.load('echo', {'ratio': 0.1}).replay[0].ratio)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "0.1"]


def test_an_unknown_method_or_option_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'erp'; known: (\w+, )+naive"):
        methods.load("erp")
    with pytest.raises(ConfigError, match=r"method 'derpp' has no option 'gamma'; it has: alpha, beta"):
        methods.load("derpp", {"gamma": 1.0})
    with pytest.raises(ConfigError, match=r"method 'naive' has no option 'alpha'; it has: none"):
        methods.load("naive", {"alpha": 1.0})


def test_names_are_spelt_as_the_field_spells_them() -> None:
    assert methods.load("der++").name == "derpp"


def test_a_recipe_may_remember_without_replaying() -> None:
    learner = Learner(method=Recipe(name="mine", remembers=True), config=OnlineLearnerConfig(memory_size=3))
    assert learner.memory is not None
    assert Learner(method="naive").memory is None


def test_options_reach_the_recipe() -> None:
    assert methods.load("er", {"ratio": 0.25}).replay == (Replay(ratio=0.25),)
    assert methods.load("joint", {"epochs": 4}).rehearsal == 4
