"""What a home's method protects, by site: plain data, and a listing of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tenuto.cli.shared.output import percent
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.evaluation import Listing

METHOD = "ogp_lora"
"""The method whose adapters have sites."""
NOTE = (
    "Outputs on sequences whose inputs lie in the span of a site's basis cannot move. Captured: the energy "
    "of the last context's inputs that lies in it, drawn as a bar; what lies outside is not protected. "
    "Kappa: how much of new rows' gradients the basis leaves, a running mean. Leak: |A_eff M| / |A_eff|, "
    "what rounding lets through. Revisions: corrections that it gave way to. Released: the share of "
    "directions that they took. Given up: the share of energy that saturated bases let go."
)


def sites(home: Home) -> list[dict[str, Any]] | None:
    """The measures of each site, as the learner holds them now; None where the method has no sites.

    Of a site: `directions` of its basis, `captured`, `kappa`, `leak`, `revisions`, `released`, the share of
    its directions, and `budget`, that of its energy that was let go under saturation. Captured is None where
    no context has ended yet.
    """
    if home.config["method"] != METHOD:
        return None
    from tenuto.cli.shared.learning import maker, settle
    from tenuto.session import recovery

    settle()
    learner = recovery.recover(home, maker(home))[0].learner
    adapter, protection = learner.body.adapter, learner.recipe.protection
    if adapter is None or protection is None:
        return None
    told, leaks = protection.told(), adapter.leaks()
    return [
        {
            "site": site,
            "directions": basis.shape[1],
            "captured": told["captured"].get(site),
            "kappa": told["kappas"].get(site, 1.0),
            "leak": leaks[site],
            "revisions": told["given"].get(site, 0),
            "released": told["released"].get(site, 0.0),
            "budget": told["budget"].get(site, 0.0),
        }
        for site, basis in adapter.bases.items()
    ]


def listing(found: Sequence[dict[str, Any]]) -> Listing:
    """The measures as a table, with a bar for each site's captured energy.

    >>> one = {"site": "m.layers.3.mlp.gate_up", "directions": 2, "captured": 0.5, "kappa": 0.9, "leak": 1e-8}
    >>> listing([one | {"revisions": 1, "released": 0.25, "budget": 0.0}]).rows
    (('layers.3.mlp.gate_up', '2', '50.0 %', '0.900', '1e-08', '1', '25.0 %', '0.0 %'),)
    """
    from tenuto.evaluation import Listing

    return Listing(
        title="What the adapter protects",
        note=NOTE,
        head=("site", "directions", "captured", "kappa", "leak", "revisions", "released", "given up"),
        rows=tuple(
            (
                short(one["site"]),
                f"{one['directions']:,}",
                percent(one["captured"]),
                f"{one['kappa']:.3f}",
                f"{one['leak']:.0e}" if one["leak"] else "0",
                f"{one['revisions']:,}",
                percent(one["released"]),
                percent(one["budget"]),
            )
            for one in found
        ),
        shares=tuple(min(one["captured"] or 0.0, 1.0) for one in found),
    )


def short(site: str) -> str:
    """A site's name from its block on.

    >>> short("base.base_model.model.model.layers.0.self_attn.qkv"), short("0.qkv")
    ('layers.0.self_attn.qkv', '0.qkv')
    """
    expert = re.match(r"\d+:", site)
    return (expert[0] if expert else "") + re.sub(r"^.*?(?=\b\w+\.\d+\.)", "", site)
