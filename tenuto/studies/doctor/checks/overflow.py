"""Does it all fit? Memory in memory, rows per class, the journal on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tenuto.studies.doctor.patient import Finding, Patient

GIB = 2**30


def findings(patient: Patient) -> Iterator[Finding]:
    """What does not fit, or soon will not."""
    learner, memory = patient.learner, patient.learner.memory
    if memory is not None and len(memory):
        row = sum(column[0].nbytes for column in memory.table.columns.values())
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if memory.capacity is None:
            yield Finding(
                name="memory_unbounded",
                severity="warning",
                says=f"{learner.recipe.name} remembers every row, without bound.",
                evidence={"rows": len(memory), "bytes": row * len(memory), "bytes per row": row},
                remedy="use it for bounds and comparisons; er and derpp remember memory_size rows",
            )
        elif row * memory.capacity > machine / 2:
            yield Finding(
                name="memory_too_large",
                severity="critical",
                says="A full replay buffer would take more than half of this machine's memory.",
                evidence={"bytes when full": row * memory.capacity, "machine": machine},
                remedy="lower memory_size, or give inputs in a smaller dtype (uint8 is kept as it is)",
            )
        classes = len(learner.task.classes)
        if memory.capacity is not None and classes > 1 and memory.capacity < 5 * classes:
            yield Finding(
                name="memory_too_small",
                severity="warning",
                says="There is room for fewer than five rows of each class.",
                evidence={"memory_size": memory.capacity, "classes": classes},
                remedy="raise memory_size; 20 rows per class is a good beginning",
            )
    journal = patient.used.get("journal", 0)
    if journal > GIB and not patient.retention:
        yield Finding(
            name="journal_unbounded",
            severity="warning",
            says="The journal has grown large, and nothing bounds it.",
            evidence={"bytes": journal},
            remedy="set journal_max_bytes or journal_max_age; snapshots then bound how far back one can go",
        )
