"""The simulated disk itself: what it must keep, and everything it may lose."""

from __future__ import annotations

import random

from tests.crash.taps import Op
from tests.crash.volume import SECTOR, Image, Volume

A, B = bytes([1]) * 4 * SECTOR, bytes([2]) * 4 * SECTOR


def images(*ops: Op, held: Image | None = None, count: int = 400) -> list[Image]:
    """What may be left when the power goes after these operations."""
    volume = Volume(held or {}, [])
    for op in ops:
        volume.apply(op)
    return [volume.survive(random.Random(seed)) for seed in range(count)]


def test_what_was_synced_in_a_synced_folder_is_always_there() -> None:
    ops = (Op("create", "f"), Op("write", "f", 0, A), Op("sync", "f"), Op("sync_dir", ""))
    assert {image["f"] for image in images(*ops)} == {A}


def test_a_name_without_a_sync_of_its_folder_may_be_lost_whatever_it_holds() -> None:
    ops = (Op("create", "f"), Op("write", "f", 0, A), Op("sync", "f"))
    assert {image.get("f") for image in images(*ops)} == {None, A}


def test_an_unsynced_write_may_be_there_or_not_or_in_part_or_as_noise() -> None:
    found = {image["f"] for image in images(Op("write", "f", 0, B), held={"f": A})}
    assert {A, B} <= found
    sectors = {data[at : at + SECTOR] for data in found for at in range(0, len(data), SECTOR)}
    assert {A[:SECTOR], B[:SECTOR]} < sectors
    assert any(len({*data}) == 2 for data in found), "torn between old and new"


def test_a_growing_file_may_have_holes_and_a_truncation_may_be_undone() -> None:
    grown = {image["f"] for image in images(Op("write", "f", len(A), B), held={"f": A})}
    assert A in grown
    assert A + B in grown
    cut = {image["f"] for image in images(Op("truncate", "f", 7), held={"f": A})}
    assert cut == {A, A[:7]}


def test_writes_may_arrive_in_another_order() -> None:
    ops = (Op("write", "f", 0, A), Op("write", "f", 0, B))
    assert {image["f"] for image in images(*ops, held={"f": b""})} > {b"", A, B}


def test_a_rename_is_whole_or_not_and_may_be_lost() -> None:
    ops = (
        Op("create", "t"),
        Op("write", "t", 0, B),
        Op("sync", "t"),
        Op("sync_dir", ""),
        Op("rename", "t", to="f"),
    )
    found = {(image.get("t"), image["f"]) for image in images(*ops, held={"f": A})}
    assert found == {(B, A), (None, B)}
    synced = images(*ops, Op("sync_dir", ""), held={"f": A})
    assert {(image.get("t"), image["f"]) for image in synced} == {(None, B)}


def test_a_renamed_file_that_was_never_synced_may_be_empty() -> None:
    ops = (Op("create", "t"), Op("write", "t", 0, B), Op("rename", "t", to="f"), Op("sync_dir", ""))
    assert b"" in {image["f"] for image in images(*ops)}


def test_what_lies_in_a_folder_goes_with_it_until_the_folder_is_durable_too() -> None:
    ops = (
        Op("mkdir", "d"),
        Op("create", "d/f"),
        Op("write", "d/f", 0, A),
        Op("sync", "d/f"),
        Op("sync_dir", "d"),
    )
    assert {image.get("d/f") for image in images(*ops)} == {None, A}
    assert {image.get("d/f") for image in images(*ops, Op("sync_dir", ""))} == {A}


def test_a_deletion_may_come_undone() -> None:
    assert {image.get("f") for image in images(Op("delete", "f"), held={"f": A})} == {None, A}
    assert {image.get("f") for image in images(Op("delete", "f"), Op("sync_dir", ""), held={"f": A})} == {
        None
    }
