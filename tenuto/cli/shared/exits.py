"""What an exit code says."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every verb."""

    OK = 0
    ERROR = 1
    USAGE = 2
    DIFFERS = 3
    INTERRUPTED = 130
    TERMINATED = 143

    @staticmethod
    def explained() -> str:
        """All of them in one sentence.

        >>> Exit.explained()[:40]
        '0 done, 1 it failed and stderr says why,'
        """
        return ", ".join(f"{code.value} {meaning}" for code, meaning in _MEANINGS.items())


_MEANINGS = {
    Exit.OK: "done",
    Exit.ERROR: "it failed and stderr says why",
    Exit.USAGE: "an option or a verb is wrong",
    Exit.DIFFERS: "a digest or a proof does not hold",
    Exit.INTERRUPTED: "stopped by Ctrl-C, what was acknowledged is kept",
    Exit.TERMINATED: "the same by SIGTERM",
}
