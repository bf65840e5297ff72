"""What rows give each site is the same whether all sites are read at once or in turns."""

from __future__ import annotations

import pytest
import torch

from tenuto import Learner
from tenuto.methods.shared import site_inputs
from tenuto.models.inputs import stack
from tests import language


def test_reading_in_turns_gives_what_reading_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = language.rows()
    learner = Learner(language.model(), language.PROTECTED, method="ogp_lora")
    adapter = learner.body.adapter
    assert adapter is not None
    at_once = dict(site_inputs.inputs(adapter, learner._objective, stack(rows)))
    assert at_once.keys() == adapter.bases.keys()
    monkeypatch.setattr(site_inputs, "HELD", 1)
    passes: list[int] = []
    learner.model.register_forward_hook(lambda *_: passes.append(1))
    in_turns = dict(site_inputs.inputs(adapter, learner._objective, stack(rows)))
    assert len(passes) == len(at_once) * -(-len(rows) // site_inputs.TOGETHER)
    for site, found in at_once.items():
        assert torch.equal(in_turns[site], found)
