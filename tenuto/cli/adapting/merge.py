"""tenuto adapters merge: several adapters in one, exactly or at a smaller rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.adapters import is_home, kept
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts
from tenuto.errors import ConfigError

if TYPE_CHECKING:
    from tenuto.trees import Tree

Found = tuple[list[tuple["Tree", float]], str, str]
"""Tensors with their scale, the base's name, the base's digest."""


@click.command()
@click.argument("source", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("adapters", nargs=-1, required=True, metavar="ADAPTER[=WEIGHT]...")
@click.option("--into", required=True, help="The new adapter's name; the generation is added.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where its folder goes; left out: into SOURCE, where that is no home.",
)
@click.option(
    "--rank", type=click.IntRange(1), help="Cut the sum to this rank by SVD; left out: it is exact."
)
@options.as_json
def command(
    source: Path, adapters: tuple[str, ...], into: str, out: Path | None, rank: int | None, as_json: bool
) -> int:
    """Add adapters up into one: those exported to SOURCE (facts@2), or those of a home SOURCE (facts).

    Each counts with its WEIGHT, 1 where none is given. What a cut loses is told as a share of the sum's norm.
    Nothing is merged of what is not whole, or was made for different bases.
    """
    from tenuto.adapters.export import next_generation, write
    from tenuto.adapters.merge import merge

    weights = dict(_weight(word) for word in adapters)
    if len(weights) < len(adapters):
        raise click.UsageError("an adapter is named twice; give it one weight")
    if out is None and is_home(source):
        raise click.UsageError("--out says where the merged adapter goes: nothing is written into a home")
    found, base, digest = (_of_home if is_home(source) else _exported)(source, list(weights))
    parts = [(tensors, scale * weights[name]) for name, (tensors, scale) in zip(weights, found, strict=True)]
    made, folder = merge(parts, rank=rank), out or source
    about = {"base_sha256": digest, "merged": weights, "error": made.error}
    tensors = {f"{name}.weight": one for name, one in made.tensors.items()}
    number = next_generation(folder, into)
    told = write(tensors, folder, name=into, generation=number, base=base, about=about)
    if as_json:
        emit({"name": told.name, "folder": str(told.folder), "rank": told.rank, "error": made.error})
        return Exit.OK
    facts(
        {
            "adapter": f"{told.name}, rank {told.rank}",
            "folder": str(told.folder),
            "error": f"{made.error:.4f} of the sum's norm"
            if rank is not None
            else "none: it is the whole sum",
        }
    )
    return Exit.OK


def _weight(word: str) -> tuple[str, float]:
    """An adapter's name and its weight."""
    name, given, weight = word.partition("=")
    try:
        return name, float(weight) if given else 1.0
    except ValueError as error:
        raise click.UsageError(f"{word!r} has no number for a weight; write {name}=0.5") from error


def _of_home(home: Path, names: list[str]) -> Found:
    """Adapters of a home's bank."""
    mine = kept(home)
    return (
        [(mine.bank.tensors(name), mine.bank.scale(name)) for name in names],
        mine.base,
        mine.about["base_sha256"],
    )


def _exported(folder: Path, names: list[str]) -> Found:
    """Adapters that were exported, all of one base."""
    from tenuto.adapters.loading import read

    for name in names:
        if "/" in name or name in ("", ".", ".."):
            raise ConfigError(f"{name!r} is no adapter in {folder}; write facts@2")
    first = read(folder / names[0])
    found = [first, *(read(folder / name, first.base_digest) for name in names[1:])]
    return [(one.tensors, one.scale) for one in found], first.base, first.base_digest
