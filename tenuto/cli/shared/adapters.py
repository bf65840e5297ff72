"""The adapters of a home, and what they were learned on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenuto.errors import ConfigError
from tenuto.store.home import JOURNAL, Home

if TYPE_CHECKING:
    from tenuto.adapters.bank import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What a home's language model has learned.

    Args:
        bank: its adapters.
        base: the base's name or path.
        about: what their manifests say of it.
    """

    bank: Bank
    base: str
    about: dict[str, str]


def is_home(path: Path) -> bool:
    """Is this the directory of a home, and not one of exported adapters?

    >>> is_home(Path("/nowhere"))
    False
    """
    return (path / JOURNAL).exists()


def kept(home: Path) -> Kept:
    """The adapters of a home as they are now. Raises ConfigError where it holds no language model by name."""
    from tenuto.adapters.bank import Bank
    from tenuto.cli.shared.learning import maker, settle
    from tenuto.models.language import LanguageModel
    from tenuto.session import recovery

    settle()
    with Home.view(home) as view:
        made, k = view.config, view.ledger.head.k
        if made.get("base") is None:
            raise ConfigError(f"{home} holds no language model by name, so no engine knows its base")
        learner = recovery.recover(view, maker(view))[0].learner
    if not isinstance(learner.model, LanguageModel):
        raise ConfigError(f"{home} holds no language model")
    progressive = learner.adapters.bank if learner.adapters is not None else None
    about = {"base_sha256": made["base"], "state": learner.digest(), "step": str(k)}
    return Kept(bank=progressive or Bank(learner.model), base=made["model"], about=about)
