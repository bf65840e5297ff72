"""What a home's settings make of an update."""

from __future__ import annotations

import inspect
import math

from tenuto.errors import ConfigError
from tenuto.methods import ogp_lora
from tenuto.models.speech import LENGTH, ROOM
from tenuto.session.blueprint import Blueprint
from tenuto.studies.ledger.plan import Plan


def planned(made: Blueprint) -> Plan:
    """An update of a home by its settings, with as many rows beside the fresh ones as ever come due at once.

    Raises:
        ConfigError: it learns by another method, or a model of one's own.
    """
    if made.base is None or made.method != "ogp_lora":
        raise ConfigError(
            f"the home learns {made.model} by {made.method}; the ledger is of ogp_lora on a base by name"
        )
    usual = {name: one.default for name, one in inspect.signature(ogp_lora.recipe).parameters.items()}
    options, config = usual | dict(made.options), made.config
    ratio = options["ratio"]
    share = 1 / options["every"] if ratio is None else ratio / (1 - ratio)
    beside = math.ceil(config.batch_size * share) + (options["anchors"] if options["weight"] else 0)
    return Plan(
        tokens=LENGTH,
        answer=ROOM,
        rows=config.batch_size + beside,
        frozen=options["rank"],
        directions=options["directions"],
        sketched=options["tokens"],
        memory=config.memory_size or ogp_lora.CAPACITY,
        precision=config.precision,
        checkpointing=config.checkpointing,
        middle=True,
        experts=options["experts"],
        active=min(options["active"], options["experts"]),
    )
