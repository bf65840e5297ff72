"""Settings check themselves: type, bounds, choices, and the name that was meant."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tenuto import Learner, OnlineLearnerConfig, SessionConfig
from tenuto.config import Limits
from tenuto.errors import ConfigError

CONFIGS = (OnlineLearnerConfig, SessionConfig)
FIELDS = [(config, field.name) for config in CONFIGS for field in dataclasses.fields(config)]
BOUNDS = [
    (config, field.name, side, getattr(field.metadata["limits"], side))
    for config in CONFIGS
    for field in dataclasses.fields(config)
    for side in ("low", "high")
    if abs(getattr(field.metadata["limits"], side)) != float("inf")
]


def shaped(config: type, name: str, value: Any) -> Any:
    """The value as the setting takes it: alone, or as every entry of a tuple."""
    default = next(f.default for f in dataclasses.fields(config) if f.name == name)
    return (value,) * len(default) if isinstance(default, tuple) else value


@pytest.mark.parametrize(("config", "name"), FIELDS)
def test_a_setting_says_what_it_means_and_its_default_is_allowed(config: type, name: str) -> None:
    limits = config.__dataclass_fields__[name].metadata["limits"]
    assert isinstance(limits, Limits)
    assert limits.help
    value = getattr(config(), name)
    if limits.usual and value is not None:
        assert limits.low <= limits.usual[0] <= limits.usual[1] <= limits.high


@pytest.mark.parametrize(("config", "name", "side", "bound"), BOUNDS)
def test_a_bound_is_allowed_and_beyond_it_is_refused(
    config: type, name: str, side: str, bound: float
) -> None:
    assert getattr(config(**{name: shaped(config, name, bound)}), name) == shaped(config, name, bound)
    step = 1 if isinstance(bound, int) else 1e-9 * max(1.0, abs(bound))
    beyond = bound + (step if side == "high" else -step)
    with pytest.raises(
        ConfigError, match=f"^{name} is .*; it must be at {'most' if side == 'high' else 'least'}"
    ):
        config(**{name: shaped(config, name, beyond)})


@pytest.mark.parametrize(("config", "name"), FIELDS)
def test_a_value_of_another_type_is_refused(config: type, name: str) -> None:
    default = getattr(config(), name)
    wrong: list[Any] = [object(), {"a": 1}, b"x", 1j]
    if isinstance(default, bool):
        wrong += [1, "yes", None]
    elif isinstance(default, int):
        wrong += [1.5, "1", True, None]
    elif isinstance(default, float):
        wrong += ["1", True, None, float("nan"), float("inf")]
    elif isinstance(default, str):
        wrong += [1, None, ("sgd",)]
    elif isinstance(default, tuple):
        wrong += [0.9, ["a"], ("a", "b"), None]
    for value in wrong:
        with pytest.raises(ConfigError, match=f"^{name} is "):
            config(**{name: value})


@pytest.mark.parametrize("name", ["task", "optimizer", "head"])
def test_a_choice_names_the_others(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 'x'; it must be one of "):
        OnlineLearnerConfig(**{name: "x"})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("learnig_rate", "unknown option 'learnig_rate'; did you mean 'learning_rate'?"),
        ("memory", "unknown option 'memory'; did you mean 'memory_size'?"),
        ("zzz", "unknown option 'zzz'; known: accumulate, batch_size"),
    ],
)
def test_an_unknown_option_names_the_nearest(option: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OnlineLearnerConfig.of({option: 1})
    assert str(caught.value).startswith(message)
    with pytest.raises(ConfigError, match=option):
        OnlineLearnerConfig().but({option: 1})


def test_a_config_survives_json() -> None:
    config = OnlineLearnerConfig(
        seed=3, hidden=(8, 4), classes=("a", "b"), betas=(0.8, 0.9), insertion="ring"
    )
    assert OnlineLearnerConfig.of(json.loads(json.dumps(config.to_plain()))) == config
    assert SessionConfig.of(json.loads(json.dumps(SessionConfig(strict=True).to_plain()))) == SessionConfig(
        strict=True
    )


def test_a_changed_copy_is_checked_and_the_original_stands() -> None:
    config = OnlineLearnerConfig()
    assert config.but({"hidden": [3]}).hidden == (3,)
    assert config.hidden == (256, 256)
    with pytest.raises(ConfigError, match="passes"):
        config.but({"passes": 0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 4  # type: ignore[misc]


@pytest.mark.parametrize("classes", [("a", "a"), (1, "a"), (1, 1), (True, False), (1.5,)])
def test_classes_are_labels_of_one_type_each_once(classes: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="classes is"):
        OnlineLearnerConfig(classes=classes)


def test_the_unusual_is_named_with_the_fields_own_range() -> None:
    assert OnlineLearnerConfig().unusual() == {}
    assert OnlineLearnerConfig(memory_size=50, learning_rate=0.5).unusual() == {
        "learning_rate": (1e-4, 1e-2),
        "memory_size": (200, 5000),
    }


def test_presets_stand_for_what_they_say() -> None:
    fast, stable = OnlineLearnerConfig.fast(), OnlineLearnerConfig.stable()
    assert fast.learning_rate > stable.learning_rate
    assert stable.memory_size > fast.memory_size
    assert stable.replay_ratio > fast.replay_ratio
    for config in (fast, stable):
        assert Learner(config=config).memory is not None


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"guard": "x"}, "guard"),
        ({"insertion": "x"}, "insertion policy"),
        ({"sampling": "x"}, "sampling policy"),
    ],
)
def test_a_part_that_does_not_exist_is_refused_when_the_learner_is_made(
    settings: dict[str, str], kind: str
) -> None:
    with pytest.raises(ConfigError, match=f"unknown {kind} 'x'; known: "):
        Learner(config=OnlineLearnerConfig(**settings))
