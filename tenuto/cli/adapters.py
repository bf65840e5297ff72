"""tenuto adapters: what a home's language model has learned, as folders for the engines that serve it."""

from __future__ import annotations

from tenuto.cli.shared.verbs import Verbs

command = Verbs.under(
    "tenuto.cli.adapting", "verb of adapters", "List, export and merge the adapters of language models."
)
