"""tenuto bench: the studies, each a verb of its own under it."""

from __future__ import annotations

from tenuto.cli.shared.verbs import Verbs

command = Verbs.under(
    "tenuto.cli.studies", "study", "Run a study, and show what it measured beside what others report."
)
