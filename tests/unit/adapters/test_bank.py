"""A bank holds many adapters on one base, each its own, under names that are no paths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto.adapters.bank import Bank
from tenuto.adapters.export import export
from tenuto.errors import ConfigError
from tests import language


def bank() -> Bank:
    """A bank on the tiny Llama, with three adapters that answer differently."""
    made = Bank(language.model(rank=4, name="one").base)
    made.add("two", seed=2)
    made.add("three", seed=3)
    for number, name in enumerate(made.names):
        draws = torch.Generator().manual_seed(number)
        tensors = made.tensors(name)
        made.put(name, {key: 0.1 * torch.randn(one.shape, generator=draws) for key, one in tensors.items()})
    return made


def logits(made: Bank, name: str | None) -> torch.Tensor:
    with made.using(name), torch.no_grad():
        return made.model(input_ids=torch.tensor([[1, 403, 480, 261]])).logits


def test_each_adapter_answers_for_itself_and_the_base_as_before() -> None:
    made = bank()
    answers = [logits(made, name) for name in (*made.names, None)]
    with torch.no_grad():
        bare = language.base()(input_ids=torch.tensor([[1, 403, 480, 261]])).logits
    assert torch.equal(answers[-1], bare)
    for number, one in enumerate(answers):
        assert all((one - other).abs().max() > 1e-3 for other in answers[number + 1 :])
    assert made.active == "three"
    learns = {key for key, one in made.model.named_parameters() if one.requires_grad}
    assert {key.split(".")[-2] for key in learns} == {"three"}


def test_a_frozen_adapter_does_not_learn_whoever_is_asked() -> None:
    made = bank()
    made.freeze("three")
    assert made.status == {"one": "frozen", "two": "frozen", "three": "frozen"}
    for name in (None, "one", "three"):
        logits(made, name)
        assert not any(one.requires_grad for one in made.model.parameters())
    made.thaw("three")
    assert made.status["three"] == "active"
    logits(made, "one")
    learns = [key for key, one in made.model.named_parameters() if one.requires_grad]
    assert {key.split(".")[-2] for key in learns} == {"three"}


def test_names_are_no_paths_and_are_taken_once(tmp_path: Path) -> None:
    made = bank()
    for name in (str(tmp_path / "x"), "../x", "Two", "", "-x", "a.b", "x" * 65):
        with pytest.raises(ConfigError, match="is no adapter's name"):
            made.add(name)
        with pytest.raises(ConfigError, match="is no adapter's name"):
            made.rename("one", name)
    with pytest.raises(ConfigError, match="'two' already"):
        made.add("two")
    assert made.names == ["one", "two", "three"]
    assert not list(tmp_path.iterdir())


def test_a_renamed_adapter_is_what_it_was() -> None:
    made = bank()
    made.freeze("three")
    for name in ("one", "three"):
        before = logits(made, name)
        made.rename(name, f"{name}-new")
        assert torch.equal(logits(made, f"{name}-new"), before)
    assert made.status == {"two": "frozen", "one-new": "frozen", "three-new": "frozen"}
    assert made.active == "three-new"
    assert not any(".one." in key for key in made.model.state_dict())


def test_a_retired_adapter_is_not_used_again_and_a_removed_one_is_gone() -> None:
    made = bank()
    made.retire("one")
    assert made.status["one"] == "retired"
    with pytest.raises(ConfigError, match="is retired"):
        made.activate("one")
    made.remove("one")
    with pytest.raises(ConfigError, match="has no adapter 'one'; it has: two, three"):
        made.activate("one")
    for act in (made.retire, made.remove):
        with pytest.raises(ConfigError, match="is in use"):
            act("three")


def test_tensors_that_do_not_fit_change_nothing() -> None:
    made = bank()
    before, tensors = logits(made, "two"), made.tensors("two")
    key = next(iter(tensors))
    broken = {
        "other layers": {name: one for name, one in tensors.items() if name != key},
        "of shape": tensors | {key: torch.zeros(3, 3)},
        "NaN": tensors | {key: torch.full_like(tensors[key], torch.nan)},
    }
    for why, wrong in broken.items():
        with pytest.raises(ConfigError, match=why):
            made.put("two", wrong)
    assert torch.equal(logits(made, "two"), before)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_one_of_a_bank_is_exported_alone(tmp_path: Path) -> None:
    from peft import PeftModel

    made = bank()
    found = export(
        made.model, tmp_path, name="words", generation=1, base="stories260K", about={}, adapter="one"
    )
    loaded = PeftModel.from_pretrained(language.base(), found.folder)
    with torch.no_grad():
        answers = loaded(input_ids=torch.tensor([[1, 403, 480, 261]])).logits
    torch.testing.assert_close(answers, logits(made, "one"), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="no adapter 'four'"):
        export(made.model, tmp_path, name="w", generation=2, base="b", about={}, adapter="four")


def test_a_module_without_adapters_has_no_bank() -> None:
    assert Bank.of(torch.nn.Linear(1, 1)) is None
    with pytest.raises(ConfigError, match="holds 0 models"):
        Bank(torch.nn.Linear(1, 1))
