"""A home at a glance, as plain data and in words."""

from __future__ import annotations

from typing import Any

import msgspec

from tenuto.cli.shared.memory import Composition, composition
from tenuto.cli.shared.output import amount, moment, percent, plural
from tenuto.store import survey
from tenuto.store.home import Home

RECENT = 10_000
"""Steps that loss and accuracy are told of, at most."""
WIDEST = 12
"""Classes told of one by one, at most."""


def overview(home: Home) -> dict[str, Any]:
    """What `status` tells, as plain data but for the memory."""
    head, recent, made = home.ledger.head, survey.recent(home, RECENT), home.config
    counts = home.journal.counts()
    return {
        "home": str(home.path),
        "method": made["method"],
        "options": made["options"],
        "model": made["model"],
        "task": made["config"]["task"],
        "seed": made["config"]["seed"],
        "rows": msgspec.structs.asdict(survey.rows(home))
        | {name: counts[name] for name in ("quarantined", "duplicates", "forgotten", "dropped")},
        "step": head.k,
        "frozen": survey.frozen(home),
        "episode": survey.episode(home),
        "digest": head.digest,
        "committed_at": head.at or None,
        "loss": None if recent is None else recent.loss,
        "progressive_accuracy": None
        if recent is None or recent.correct is None or not recent.rows
        else recent.correct / recent.rows,
        "recent_steps": 0 if recent is None else recent.last_k - recent.first_k + 1,
        "memory": composition(home),
        "sources": [{"name": source.name, "rows": source.offset} for source in survey.sources(home)],
        "snapshots": [
            {"step": row.k, "name": row.name, "at": row.created_at, "pinned": row.pinned}
            for row in home.ledger.snapshots()
        ],
        "bytes": survey.disk(home.path),
        "writer": survey.writer(home.path),
    }


def lines(told: dict[str, Any]) -> dict[str, str | list[str]]:
    """An overview for a person."""
    options = ", ".join(f"{name}={value}" for name, value in told["options"].items())
    used = told["bytes"]
    parts = ", ".join(f"{name} {amount(size)}" for name, size in used.items())
    held = "no one" if told["writer"] is None else f"process {told['writer']}"
    return {
        "home": told["home"],
        "learns": f"{told['method']}{f' ({options})' if options else ''} on {told['model']}, {told['task']}",
        "rows": _rows(told["rows"]),
        "steps": _steps(told),
        "memory": memory(told["memory"]),
        **({"episode": _episode(told["episode"])} if told["episode"] else {}),
        "sources": [f"{source['name']}, {plural(source['rows'], 'row')} read" for source in told["sources"]]
        or "none read yet",
        "snapshots": [_snapshot(row) for row in told["snapshots"]],
        "disk": f"{amount(sum(used.values()))} ({parts})",
        "writer": held,
    }


def _rows(rows: dict[str, int]) -> str:
    words = {"aside": "lying aside (tenuto review)", "duplicates": "duplicates met"}
    shown = [name for name, count in rows.items() if count or name in ("learned", "queued")]
    return ", ".join(f"{rows[name]:,} {words.get(name, name)}" for name in shown)


def _steps(told: dict[str, Any]) -> list[str]:
    if not told["step"]:
        return ["none yet"]
    lines = [f"{told['step']:,}, the last committed {moment(told['committed_at'])}"]
    if told["frozen"]:
        lines.append(f"frozen: {told['frozen']}; go back with tenuto rollback, or accept it with tenuto thaw")
    if told["loss"] is not None:
        lines.append(f"loss {told['loss']:.3f} over the last {plural(told['recent_steps'], 'step')}")
    if told["progressive_accuracy"] is not None:
        lines.append(f"{percent(told['progressive_accuracy'])} right just before being learned")
    return [*lines, f"digest {told['digest']}"]


def _episode(told: dict[str, Any]) -> list[str]:
    begun = f"{told['number']} ({told['cause']}: {told['found']})"
    if told["learned"] is None:
        return [f"{begun}, not ended; tenuto episode --now goes on with it"]
    lines = [f"{begun}, {plural(told['learned'], 'row')} learned in {told['seconds']:.1f} s"]
    if told["retention"] is not None:
        lines.append(f"base retention {percent(told['retention'])}")
    if told["accumulation"] is not None:
        lines.append(f"{percent(told['accumulation'])} of approved answers right")
    if told["stopped"]:
        lines.append(f"stopped: {told['stopped']}")
    return lines


def memory(held: Composition) -> str:
    """What memory holds, in one line.

    >>> memory(Composition(rows=4, read=4, classes={0: 3, 1: 1}))
    '4 rows: 0 ×3, 1 ×1'
    """
    if not held.rows:
        return "nothing"
    shown = [f"{label} ×{count}" for label, count in held.classes.items()]
    if len(shown) > WIDEST:
        shown = [*shown[:WIDEST], f"and {len(shown) - WIDEST} classes more"]
    drawn = "" if held.read == held.rows else f" (of {held.read:,} looked at)"
    return plural(held.rows, "row") + (f": {', '.join(shown)}{drawn}" if shown else "")


def _snapshot(row: dict[str, Any]) -> str:
    name = f" {row['name']!r}" if row["name"] else ""
    return f"step {row['step']:,}{name}, {moment(row['at'])}{', pinned' if row['pinned'] else ''}"
