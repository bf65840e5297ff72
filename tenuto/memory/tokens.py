"""A table that keeps rows of tokens as narrow as their numbers allow: two bytes a token, or four.

A row of a language model codes token t as t where it is asked, as -1 - t where it is answered, and `PAD`
behind the last; a target holds the answers' tokens, and -1 behind the last. Kept are the tokens, all ones
where there is none, and a bit for each that tells whether it is answered. Columns begin two bytes wide
(vocabularies of up to 65,535 tokens) and are widened to four when the first larger number comes.

The invariant: rows come out as they went in, bit for bit. Rows that are not (n, t) whole numbers stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tenuto.memory.table import Table

PAD = 2**31 - 1
ANSWERED = "answered"
Width = tuple[torch.dtype, torch.dtype]
NARROW: Width = (torch.int16, torch.uint16)
WIDE: Width = (torch.int32, torch.uint32)
"""The dtype that columns have, for torch indexes no unsigned one, and what their bits mean."""


class Tokens(Table):
    """Rows in slots, of int64 tokens.

    >>> table = Tokens(capacity=4)
    >>> row = torch.tensor([[5, 6, -8, PAD]])
    >>> table.put([0], {"inputs": row, "targets": torch.tensor([[7, -1]])})
    >>> table.get(torch.tensor([0]))["inputs"].equal(row), table.columns["inputs"].dtype
    (True, torch.int16)
    """

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype that inputs come out in."""
        return torch.int64 if ANSWERED in self.columns else super().dtype

    def put(self, slots: list[int], rows: Mapping[str, Tensor], which: list[int] | None = None) -> None:
        """Write rows (n, ...), or those of them that `which` numbers, into distinct slots."""
        super().put(slots, self._coded(rows), which)

    def put_run(self, first: int, top: int, rows: Mapping[str, Tensor]) -> None:
        """Write rows into the slots first .. top - 1."""
        super().put_run(first, top, self._coded(rows))

    def get(self, slots: Tensor) -> dict[str, Tensor]:
        """Copies of the rows in slots (k,)."""
        kept = super().get(slots)
        if ANSWERED not in kept:
            return kept
        kept |= {"inputs": _rows(kept["inputs"], kept[ANSWERED]), "targets": _read(kept["targets"], -1)}
        return {name: column for name, column in kept.items() if name != ANSWERED}

    def inputs(self, slots: Tensor) -> Tensor:
        """The inputs (k, t) in slots (k,)."""
        found = super().inputs(slots)
        answered = self.columns.get(ANSWERED)
        return found if answered is None else _rows(found, answered.index_select(0, slots))

    def fitting(self, sizes: Mapping[str, int], most: int, *, beside: int) -> int:
        """How many rows fit into `most` bytes, where each token takes four, and an eighth for its bit."""
        tokens = {name: -(-sizes[name] // 2) for name in ("inputs", "targets") if name in sizes}
        bits = {ANSWERED: -(-sizes["inputs"] // 64)} if "inputs" in sizes else {}
        return super().fitting({**sizes, **tokens, **bits}, most, beside=beside)

    def _coded(self, rows: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Rows as they are kept."""
        inputs = rows["inputs"]
        if ANSWERED in rows or inputs.is_floating_point() or inputs.dim() != 2:
            return rows
        inputs = inputs.long()
        answered = inputs < 0
        tokens = torch.where(answered, ~inputs, inputs).masked_fill(inputs == PAD, -1)
        kept = {"inputs": self._kept("inputs", tokens), "targets": self._kept("targets", rows["targets"])}
        return {**rows, **kept, ANSWERED: _packed(answered)}

    def _kept(self, name: str, tokens: Tensor) -> Tensor:
        """Tokens (n, t), -1 where there is none, as a column that is wide enough for them keeps them."""
        held = self.columns.get(name)
        wide = bool((tokens >= torch.iinfo(NARROW[1]).max).any())
        if wide and held is not None and held.dtype == NARROW[0]:
            self._views.pop(name, None)
            self.columns[name] = _written(_read(held, -1), WIDE)
        wide = wide or (held is not None and held.dtype == WIDE[0])
        return _written(tokens, WIDE if wide else NARROW)


def _written(tokens: Tensor, width: Width) -> Tensor:
    """Tokens of which -1 is none, as the bits of unsigned numbers of which all ones is none."""
    kept, meant = width
    most: int = torch.iinfo(meant).max
    return torch.where(tokens < 0, most, tokens).to(meant).view(kept)


def _read(kept: Tensor, none: int) -> Tensor:
    """What `_written` wrote, with this number where there is none."""
    meant = NARROW[1] if kept.dtype == NARROW[0] else WIDE[1]
    tokens = kept.view(meant).long()
    return tokens.masked_fill(tokens == torch.iinfo(meant).max, none)


def _rows(kept: Tensor, answered: Tensor) -> Tensor:
    tokens = _read(kept, PAD)
    return torch.where(_bits(answered, tokens.shape[1]), ~tokens, tokens)


def _packed(marks: Tensor) -> Tensor:
    """Marks (n, t) as bits (n, t / 8), rounded up.

    >>> _packed(torch.tensor([[True, False, True]]))
    tensor([[5]], dtype=torch.uint8)
    """
    whole = torch.nn.functional.pad(marks, (0, -marks.shape[1] % 8)).view(len(marks), -1, 8)
    return (whole * 2 ** torch.arange(8, device=marks.device)).sum(2).to(torch.uint8)


def _bits(packed: Tensor, width: int) -> Tensor:
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return (packed[:, :, None] >> places & 1).bool().flatten(1)[:, :width]
