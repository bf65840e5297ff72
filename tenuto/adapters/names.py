"""What an adapter may be called: its name becomes a folder's, and PEFT would take a path."""

from __future__ import annotations

import re

from tenuto.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def fits(name: str) -> bool:
    """May an adapter be called this?

    >>> fits("travel-2"), fits("../travel"), fits("Travel")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """The name. Raises ConfigError where it is out of form.

    >>> check_name("travel")
    'travel'
    """
    if not fits(name):
        raise ConfigError(
            f"{name!r} is no adapter's name; use small letters, digits, - and _, at most 64, no mark first"
        )
    return name
