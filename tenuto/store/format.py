"""Which release may open which database: each file carries the number of its format.

A new file gets the schema, the number and a seal of the schema in one transaction. An older one is migrated
number by number, each in its own transaction; a newer one is refused and left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import apsw

from tenuto.errors import CorruptHome, HomeMissing, HomeTooNew, StoreError
from tenuto.store.database import Database, Row, seal, set_meta
from tenuto.store.disk import RESTORE

FORMAT = 1
TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
Migration = Callable[[apsw.Connection], None]
MIGRATIONS: Mapping[str, Mapping[int, Migration]] = {"ingest.db": {}, "state.db": {}}
"""Per file: what turns format n into n + 1."""


def settle(
    database: Database,
    schema: str,
    *,
    newest: int = FORMAT,
    migrations: Mapping[str, Mapping[int, Migration]] = MIGRATIONS,
) -> None:
    """Bring a database to the newest format. Raises HomeTooNew, StoreError, CorruptHome."""
    version = found(database)
    if version is None:
        if database.readonly:
            raise HomeMissing(
                f"{database.path} holds no tables: the home was never completed. Create it again"
            )
        with database.transaction() as connection:
            connection.execute(schema)
            _number(connection, newest)
        return
    if version > newest:
        raise HomeTooNew(
            f"{database.path} has format {version}, this release reads up to {newest}. "
            "Upgrade it (pip install -U tenuto), or open the home with the release that wrote it"
        )
    if version < newest and database.readonly:
        raise StoreError(
            f"{database.path} has format {version}, this release writes {newest}. Open the home once for "
            "writing (tenuto learn, tenuto serve): it is then migrated"
        )
    if database.meta("schema") != _seal(database.rows(TABLES)):
        raise CorruptHome(f"{database.path}: the definition of its tables was changed. {RESTORE}")
    for number in range(version, newest):
        with database.transaction() as connection:
            migrations[database.path.name][number](connection)
            _number(connection, number + 1)


def found(database: Database) -> int | None:
    """The format of a database; None when it has no tables yet."""
    if database.value("SELECT 1 FROM sqlite_schema WHERE name = 'meta'") is None:
        return None
    version = database.meta("format")
    if not isinstance(version, int):
        raise CorruptHome(f"{database.path} names no format. {RESTORE}")
    return version


def _number(connection: apsw.Connection, format: int) -> None:
    set_meta(connection, "format", format)
    set_meta(connection, "schema", _seal(connection.execute(TABLES).fetchall()))


def _seal(tables: list[Row]) -> str:
    return seal(*(field for table in tables for field in table))
