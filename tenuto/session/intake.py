"""The intake: rows are validated, encoded and acknowledged; bad ones are set apart with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenuto.config import SessionConfig
from tenuto.errors import ExampleError, MalformedRow, StreamError
from tenuto.learner import Learner
from tenuto.session.late import completed
from tenuto.session.reports import Progress
from tenuto.store.journal import Journal
from tenuto.store.records import Receipt, Refused, Row
from tenuto.streams import Chunk, Stream
from tenuto.streams.encoding import decode, encode
from tenuto.streams.validation import Schema
from tenuto.types import OnlineExample


class Intake:
    """Rows on their way into a journal.

    The first row fixes what the others must be: one shape, one kind of target.

    Args:
        journal: where they are acknowledged.
        learner: asked which rows and labels it can take.
    """

    def __init__(self, journal: Journal, learner: Learner) -> None:
        self._journal = journal
        self._learner = learner
        self._task = learner.config.task
        self._labels = learner.fixed_labels()
        self._schema = self._known()

    def stream(self, stream: Stream, settings: SessionConfig, *, counted: bool) -> Iterator[Progress]:
        """Acknowledge a stream from where it was left, chunk by chunk.

        Args:
            settings: how many rows a chunk has, and whether a bad one stops it.
            counted: tell how many rows a source holds, which may need a pass over it.
        """
        for part in stream.parts:
            fingerprint, start = part.fingerprint(), self.offset(part)
            total = part.rows if counted else None
            skipped = 0 if fingerprint is None else start
            for chunk in part.chunks(skipped, settings.ingest_rows):
                chunk = chunk.after(start - skipped)
                receipt = self.chunk(chunk, fingerprint, strict=settings.strict)
                read = len(chunk.rows)
                yield Progress(source=part.name, rows=chunk.end, total=total, read=read, receipt=receipt)

    def given(
        self, examples: Sequence[OnlineExample] | Stream, source: str, settings: SessionConfig
    ) -> Receipt:
        """Acknowledge a stream under its own name, or examples of a program as the next ones of a source."""
        if not isinstance(examples, Sequence):
            return joined([part.receipt for part in self.stream(examples, settings, counted=False)])
        known, strict = self._journal.source(source), settings.strict
        offset = 0 if known is None else known.offset
        return self.chunk(
            Chunk(source=source, offset=offset, rows=list(examples), raw=None), None, strict=strict
        )

    def chunk(self, chunk: Chunk, fingerprint: str | None, *, strict: bool) -> Receipt:
        """Acknowledge a chunk of a stream with how far it was read; one without rows says nothing.

        Raises:
            ExampleError: the first bad row, under `strict`; the rows before it are acknowledged.
        """
        if not chunk.rows:
            return Receipt()
        rows: list[Row] = []
        refused: list[Refused] = []
        raw = iter(chunk.raw or ())
        for place, (offset, row) in enumerate(
            zip(chunk.offsets, chunk.rows, strict=True), start=chunk.offset
        ):
            text = next(raw, b"") if isinstance(row, MalformedRow) else None
            try:
                rows.append(self._row(row, chunk.source, offset, refused))
            except ExampleError as error:
                if strict:
                    self._append(chunk.source, place, fingerprint, rows, refused)
                    raise
                refused.append(_apart(row, offset, str(error), text))
        return self._append(chunk.source, chunk.end, fingerprint, rows, refused)

    def offset(self, part: Stream) -> int:
        """Where to go on reading a source; where to go on numbering the rows of a pipe."""
        known, fingerprint = self._journal.source(part.name), part.fingerprint()
        if known is None or (known.fingerprint is None and fingerprint is not None):
            return 0
        if fingerprint is None:
            return known.offset
        if not part.continues(known.fingerprint):
            raise StreamError(
                f"{part.name} is not the source this home has read {known.offset} rows of: its beginning "
                "changed, or the order of its rows; give the new one a name of its own with --source"
            )
        return known.offset

    def _append(
        self, source: str, end: int, fingerprint: str | None, rows: list[Row], refused: list[Refused]
    ) -> Receipt:
        return self._journal.append(rows, source=source, offset=end, fingerprint=fingerprint, refused=refused)

    def _row(
        self, row: OnlineExample | MalformedRow, source: str, offset: int, refused: Sequence[Refused]
    ) -> Row:
        if isinstance(row, MalformedRow):
            if not isinstance(row.row, OnlineExample):
                raise row
            whole = completed(row.row, self._journal, refused)
            if whole is row.row:
                raise row
            row = whole
        elif row.target is None or row.input is None:
            row = completed(row, self._journal, refused)
        name = row.id or f"{source}:{offset}"
        if self._schema is None:
            schema = Schema.of(row, self._task, name=name)
            self._learner.check(row)
            self._schema = schema
        self._schema.check(row, name=name)
        if self._labels is not None and row.target not in self._labels:
            raise ExampleError(
                f"row {name!r}: label {row.target!r} is not one of the head's "
                f"{len(self._labels)} fixed classes; use head='grow', or list it in classes"
            )
        return Row(
            body=encode(row),
            id=row.id,
            source_offset=offset,
            principal=row.principal,
            derived_from=row.derived_from,
        )

    def _known(self) -> Schema | None:
        """The schema of the first row that is still kept."""
        first = self._journal.examples(limit=1)
        return Schema.of(decode(first[0].body or b""), self._task) if first else None


def joined(receipts: Sequence[Receipt]) -> Receipt:
    """What became of the rows of several appends.

    >>> joined([Receipt(accepted=2, first_seq=4, last_seq=5), Receipt(duplicates=1)]).last_seq
    5
    """
    counts = {
        name: sum(getattr(one, name) for one in receipts)
        for name in ("accepted", "duplicates", "forgotten", "quarantined")
    }
    firsts = [one.first_seq for one in receipts if one.first_seq is not None]
    lasts = [one.last_seq for one in receipts if one.last_seq is not None]
    return Receipt(**counts, first_seq=min(firsts, default=None), last_seq=max(lasts, default=None))


def _apart(row: OnlineExample | MalformedRow, offset: int, reason: str, text: bytes | None) -> Refused:
    """A row to be set apart under its own id, its sender's and its parents' as far as these are texts.

    Args:
        text: what was read, where it could not be read in whole.
    """
    if isinstance(row, MalformedRow):
        if not isinstance(row.row, OnlineExample):
            return Refused(body=text or b"", source_offset=offset, reason=reason)
        row = row.row
    parents = row.derived_from if isinstance(row.derived_from, tuple) else ()
    return Refused(
        body=_written(row) if text is None or row.input is not None else text,
        id=_text(row.id),
        source_offset=offset,
        principal=_text(row.principal),
        derived_from=tuple(known for one in parents if (known := _text(one)) is not None),
        reason=reason,
    )


def _text(value: object) -> str | None:
    """What can be kept as text; None for anything else, half a surrogate pair included."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _written(row: OnlineExample) -> bytes:
    try:
        return encode(row)
    except ExampleError:
        return repr(row.input).encode(errors="replace")
