"""Engines that serve a base and load adapters while they run: vLLM and SGLang, over their own HTTP doors.

vLLM takes POST /v1/load_lora_adapter where it runs with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, SGLang takes POST
/load_lora_adapter; both want a name they do not know yet and a path they can read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tenuto.adapters.export import Exported
from tenuto.errors import ConfigError, StreamError

Kind = Literal["vllm", "sglang"]
DOORS: dict[str, dict[str, str]] = {
    "vllm": {"load": "/v1/load_lora_adapter", "unload": "/v1/unload_lora_adapter"},
    "sglang": {"load": "/load_lora_adapter", "unload": "/unload_lora_adapter"},
}
PATIENCE = 60.0
"""Seconds an engine may take to load an adapter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """An engine at an address.

    Args:
        kind: "vllm" or "sglang".
        url: as http://localhost:8000.
        key: a bearer token, where it asks for one.

    Raises:
        ConfigError: the kind is unknown, or the address is no http one.
    """

    kind: Kind
    url: str
    key: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in DOORS:
            raise ConfigError(f"engine {self.kind!r} is unknown; known: {', '.join(DOORS)}")
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"{self.url!r} is no http address of an engine")

    def load(self, adapter: Exported) -> None:
        """Have it serve an adapter too. Raises StreamError where it refuses, or is not there."""
        path = str(adapter.folder.resolve())
        self._ask("load", {"lora_name": adapter.name, "lora_path": path})

    def unload(self, name: str) -> None:
        """Have it let go of an adapter. Raises StreamError where it refuses or is not there."""
        self._ask("unload", {"lora_name": name})

    def _ask(self, what: str, body: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        door = self.url.rstrip("/") + DOORS[self.kind][what]
        request = Request(door, json.dumps(body).encode(), headers, method="POST")
        try:
            with urlopen(request, timeout=PATIENCE) as answer:
                answer.read()
        except HTTPError as error:
            said = error.read(2000).decode(errors="replace").strip()
            raise StreamError(f"{door} refuses to {what} {body['lora_name']}: {error.code} {said}") from error
        except (URLError, TimeoutError, ConnectionError) as error:
            raise StreamError(f"no engine answers at {self.url}: {error}") from error
