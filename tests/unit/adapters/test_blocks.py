"""Null-space blocks: what is protected cannot move, what is served is what PEFT and the engines see."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenuto import subspace
from tenuto.adapters import layers
from tenuto.adapters.blocks import Blocks, over
from tenuto.adapters.export import export
from tenuto.adapters.layers import Down, Up, compressed
from tenuto.errors import ConfigError, StateError
from tenuto.models.language import LanguageModel
from tests import language


def made(**options: Any) -> tuple[LanguageModel, Blocks]:
    model = language.model(**options)
    return model, over(model, seed=3)


def stir(model: nn.Module, seed: int = 0, size: float = 0.1) -> None:
    """Move every trained parameter at random, as no gradient would."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=size)


def protect(model: LanguageModel, blocks: Blocks, rows: Tensor) -> None:
    """Commit with bases that span what these rows give each site."""
    with torch.no_grad(), blocks.reading() as reads:
        model(rows)
    kept = model.tokens(rows)
    inputs = {site: reads.rows(site, slice(None), kept) for site in blocks.sites}
    blocks.commit({site: subspace.span(blocks.bases[site], one) for site, one in inputs.items()})


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), language.EVERYTHING], ids=["q,v", "all"])
def test_no_move_of_the_parameters_reaches_what_is_protected(targets: tuple[str, ...]) -> None:
    """Not even one that no optimizer would make; and what is not protected does move."""
    few = len(targets) == 2
    model, blocks = made(targets=targets)
    stir(model, size=0.1 if few else 0.03)
    kept, free = (language.inputs(row) for row in language.rows()[:2])
    with torch.no_grad():
        before, other = model(kept), model(free)
        protect(model, blocks, kept)
        assert torch.equal(model(kept), before)
        for seed in range(3):
            stir(model, seed, 0.1 if few else 0.03)
            assert (model(kept) - before).abs().max() <= (1e-4 if few else 1e-3)
            assert (model(free) - other).abs().max() > 0.5
    assert 0 < max(blocks.leaks().values()) < 1e-6


def test_without_a_basis_a_block_is_plain_lora() -> None:
    model = language.model()
    stir(model)
    plain = copy.deepcopy(model)
    over(model)
    row = language.inputs(language.rows()[0])
    losses = [one(row).square().mean() for one in (model, plain)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    mine, theirs = ([p.grad for p in one.parameters() if p.requires_grad] for one in (model, plain))
    assert mine
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_the_gradient_of_a_block_is_that_of_its_rows_outside_the_basis() -> None:
    draws = torch.Generator().manual_seed(0)
    down = Down(nn.Parameter(torch.randn(3, 9, generator=draws)))
    down.basis = torch.linalg.qr(torch.randn(9, 4, generator=draws))[0]
    told = torch.randn(3, 9, generator=draws)
    (down.weight * told).sum().backward()
    torch.testing.assert_close(down.free.grad, told - told @ down.basis @ down.basis.T)
    assert (down.weight @ down.basis).abs().max() < 1e-6


def test_sites_are_shared_by_those_that_read_the_same() -> None:
    _, blocks = made(targets=language.EVERYTHING)
    first = {
        site.split("layers.0.")[1]: layers for site, layers in blocks.sites.items() if "layers.0." in site
    }
    assert {site: len(layers) for site, layers in first.items()} == {
        "self_attn.qkv": 3,
        "self_attn.o_proj": 1,
        "mlp.gate_up": 2,
        "mlp.down_proj": 1,
    }


class Crossed(nn.Module):
    """Two layers named as if they read the same."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.q_proj(x) + self.k_proj(x + 1)
        return out


def test_layers_that_only_look_as_if_they_shared_an_input_are_refused() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(Crossed(), LoraConfig(target_modules=["q_proj", "k_proj"]))
    blocks = over(model)
    with blocks.reading(), pytest.raises(ConfigError, match="reads another input"):
        model(torch.ones(1, 3))


class Backwards(Crossed):
    """Its layers share an input, and are asked in another order than they stand in."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.k_proj(x) + self.q_proj(x)
        return out


def test_whichever_layer_of_a_site_is_asked_first_every_pass_has_a_graph_of_its_own() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(Backwards(), LoraConfig(target_modules=["q_proj", "k_proj"]))
    blocks = over(model)
    blocks.commit({site: torch.eye(3)[:, :1] for site in blocks.sites})
    stir(model)
    free = [down.free for down, _ in blocks.layers.values()]
    first, second = (torch.autograd.grad(model(torch.ones(1, 3)).sum(), free) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
        assert bool(one.any())


def test_kappa_is_measured_where_b_is_zero() -> None:
    """The share of the whole weights' gradient outside the bases, against the gradient itself."""
    model, blocks = made(targets=language.EVERYTHING)
    rows = torch.cat([language.inputs(row) for row in language.rows()])
    protect(model, blocks, rows[:1])
    whole = {name: model.get_submodule(name).base_layer for layer in blocks.sites.values() for name in layer}
    for layer in whole.values():
        layer.weight.requires_grad_(True)
    with blocks.reading() as reads:
        model(rows[1:2]).log_softmax(-1)[0, :, 5].sum().backward()
    found, exact = torch.zeros(2), torch.zeros(2)
    for site, names in blocks.sites.items():
        basis = blocks.bases[site]
        probed = reads.gradient(site, slice(None))
        full = torch.cat([whole[name].weight.grad for name in names])
        found += torch.stack([probed.square().sum(), subspace.remove(probed, basis).square().sum()])
        exact += torch.stack([full.square().sum(), subspace.remove(full, basis).square().sum()])
    assert found[1] / found[0] == pytest.approx(float(exact[1] / exact[0]), rel=0.3)
    assert 0.01 < exact[1] / exact[0] < 0.99


def test_layers_of_a_site_are_kept_out_of_its_basis_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One product with the basis for q, k and v; outputs and gradients are those of each by itself."""
    model, blocks = made(targets=language.EVERYTHING)
    rows = torch.cat([language.inputs(row) for row in language.rows()])
    protect(model, blocks, rows[:1])
    stir(model)
    free = {name: down.free for name, (down, _) in blocks.layers.items()}
    products: list[int] = []

    def passed() -> tuple[Tensor, list[Tensor]]:
        with monkeypatch.context() as patch:
            patch.setattr(layers, "_outside", lambda group: products.append(len(group)) or apart(group))
            outputs = model(rows)
        return outputs, list(torch.autograd.grad(outputs.square().sum(), list(free.values())))

    apart = layers._outside
    together, grads = passed()
    assert sorted(products) == sorted(len(names) for names in blocks.sites.values())
    for down, _ in blocks.layers.values():
        down.beside = ()
    alone, theirs = passed()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    for name, one, other in zip(free, grads, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()), msg=name)


def test_blocks_that_froze_are_still_served_and_their_rank_is_bounded() -> None:
    model = language.model(rank=4)
    blocks = over(model, most=6)
    row = language.inputs(language.rows()[0])
    down = next(one for one in model.modules() if isinstance(one, Down))
    for number, (rank, lost) in enumerate([(4, False), (6, True)]):
        stir(model, number)
        with torch.no_grad():
            before = model(row)
            blocks.commit({site: basis[:, :0] for site, basis in blocks.bases.items()})
            gap = (model(row) - before).abs().max()
        assert len(down.frozen) == rank
        assert (blocks.lost > 0.01) is lost
        assert (float(gap) > 1e-3) is lost
    assert blocks.commits == 2


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_compression_is_the_best_there_is_and_tells_its_loss(
    width: int, out: int, rank: int, most: int, seed: int
) -> None:
    """Eckart and Young: nothing of that rank is nearer, and what is lost are the singular values left out."""
    draws = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rank, width, generator=draws), torch.randn(out, rank, generator=draws)
    near_a, near_b, lost = compressed(a, b, most)
    whole = (b @ a).double()
    sizes = torch.linalg.svdvals(whole)
    assert len(near_a) == near_b.shape[1] <= most
    told = float(sizes[most:].square().sum().sqrt() / sizes.square().sum().sqrt())
    assert lost == pytest.approx(told, abs=1e-5)
    assert float((whole - (near_b @ near_a).double()).norm() / whole.norm()) == pytest.approx(told, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(("commits", "rank"), [(1, 16), (9, 64)])
def test_what_is_exported_and_merged_is_what_is_served(tmp_path: Path, commits: int, rank: int) -> None:
    from peft import PeftModel

    model, blocks = made()
    rows = [language.inputs(row) for row in language.rows()]
    for number in range(commits):
        stir(model, number, 0.03)
        blocks.commit({site: subspace.cover(basis, torch.eye(64)[number : number + 1], threshold=1.0)
                       for site, basis in blocks.bases.items()})  # fmt: skip
    stir(model, 99, 0.03)
    base: Any = model.base
    exported = export(base, tmp_path, name="blocks", generation=1, base="stories260K", about={})
    assert exported.rank == rank
    assert exported.lost < 1e-6
    loaded = PeftModel.from_pretrained(language.base(), exported.folder)
    ids = rows[0].masked_fill(rows[0] == 2**31 - 1, 0).abs()
    with torch.no_grad():
        served = base(input_ids=ids).logits
        theirs = loaded(input_ids=ids).logits
        merged = copy.deepcopy(base).merge_and_unload()(input_ids=ids).logits
    assert (merged - served).abs().max() < 1e-3
    assert (theirs - served).abs().max() < 1e-3


def test_what_does_not_fit_changes_nothing() -> None:
    model, blocks = made()
    stir(model)
    protect(model, blocks, language.inputs(language.rows()[0]))
    before = [one.clone() for one in model.parameters()], blocks.state()
    good = blocks.bases
    site = next(iter(good))
    for bad, why in (
        ({**good, site: good[site] * torch.nan}, "NaN"),
        ({**good, site: good[site][:-1]}, "64 wide"),
        ({name: basis for name, basis in good.items() if name != site}, "no basis"),
    ):
        with pytest.raises(StateError, match=why):
            blocks.commit(bad)
    with pytest.raises(StateError, match="other layers"):
        blocks.load_state({**blocks.state(), "frozen": {}})
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.parameters(), strict=True))
    assert blocks.state().keys() == before[1].keys()
    assert all(torch.equal(blocks.bases[name], basis) for name, basis in good.items())


def test_a_basis_that_lost_its_orthogonality_is_repaired() -> None:
    model, blocks = made()
    row = language.inputs(language.rows()[0])
    protect(model, blocks, row)
    skewed = {
        site: basis @ torch.diag(torch.linspace(1, 2, basis.shape[1])) for site, basis in blocks.bases.items()
    }
    held = blocks.bases
    blocks.commit(skewed)
    for site, basis in blocks.bases.items():
        assert subspace.skew(basis) < 1e-5
        assert subspace.captured(held[site].T, basis) > 1 - 1e-6


def test_models_without_a_plain_adapter_are_refused() -> None:
    from peft import LoraConfig, get_peft_model

    with pytest.raises(ConfigError, match="no low-rank adapter"):
        over(nn.Sequential(nn.Linear(2, 2)))
    for options in ({"lora_dropout": 0.1}, {"use_dora": True}):
        odd = get_peft_model(nn.Sequential(nn.Linear(4, 4)), LoraConfig(target_modules=["0"], **options))
        with pytest.raises(ConfigError, match="variant or dropout"):
            over(odd)
        assert not any(isinstance(one, Down | Up) for one in odd.modules())
