"""tenuto adapters export: a home's adapter in PEFT's layout, and into an engine that runs."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.adapters import kept
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts


@click.command()
@options.home
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where its folder goes."
)
@click.option("--name", default="adapter", show_default=True, help="Its name; the generation is added.")
@click.option(
    "--adapter", metavar="NAME", help="Which one, where the home has several; left out: the newest."
)
@click.option("--engine", metavar="KIND=URL", help="Have it loaded: vllm=http://..., sglang=http://...")
@options.as_json
def command(home: Path, out: Path, name: str, adapter: str | None, engine: str | None, as_json: bool) -> int:
    """Write the adapter as a folder NAME@GENERATION that vLLM, SGLang and PEFT load.

    Generations are counted on from those in --out, and none is written twice. The home stays as it is.
    """
    from tenuto.adapters.engines import Engine, Kind
    from tenuto.adapters.export import export, next_generation

    door = None
    if engine is not None:
        kind, _, url = engine.partition("=")
        if kind not in get_args(Kind) or not url:
            raise click.UsageError(f"--engine {engine!r} is none; write vllm=http://localhost:8000")
        door = Engine(kind=cast(Kind, kind), url=url)
    mine, number = kept(home), next_generation(out, name)
    found = export(
        mine.bank.model,
        out,
        name=name,
        generation=number,
        base=mine.base,
        about=mine.about,
        adapter=adapter,
    )
    if door is not None:
        door.load(found)
    if as_json:
        told = {"name": found.name, "folder": str(found.folder), "rank": found.rank}
        emit({"home": str(home), **told, "sha256": dict(found.digests), "engine": engine})
        return Exit.OK
    lines: dict[str, str | list[str]] = {
        "adapter": f"{found.name}, rank {found.rank}",
        "folder": str(found.folder),
    }
    if engine is not None:
        lines["engine"] = f"{engine} serves it as {found.name}"
    facts(lines)
    return Exit.OK
