"""A stand-in for torchvision, for machines where no build of it fits the installed torch.

Avalanche and CapyMOA import torchvision for image data sets and transforms when they are imported
themselves; split-MNIST as it is measured here is made of tensors and uses none of that. Every name that
they ask for is therefore found and may be subclassed or constructed, and raises where it is used. `Compose`
and `Lambda` are real, since Avalanche applies them by default. A real torchvision is preferred: the folder
of this package stands last on the path.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

SUBMODULES = (
    "datasets",
    "datasets.folder",
    "datasets.utils",
    "datasets.vision",
    "models",
    "models.feature_extraction",
    "transforms",
    "transforms.functional",
    "transforms.transforms",
    "utils",
)

__path__: list[str] = []


class Absent:
    """What is not here: it may be subclassed and constructed, but not called."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Raise: nothing is behind the name."""
        raise NotImplementedError(f"{type(self).__qualname__} needs the real torchvision")


class Compose:
    """One function after another, as torchvision.transforms.Compose."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, value: Any) -> Any:
        """The value after all of them."""
        for transform in self.transforms:
            value = transform(value)
        return value


class Lambda:
    """A function as a transform, as torchvision.transforms.Lambda."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        self.lambd = lambd

    def __call__(self, value: Any) -> Any:
        """What the function makes of the value."""
        return self.lambd(value)


def _module(name: str) -> ModuleType:
    module = ModuleType(f"{__name__}.{name}")
    module.__path__ = []

    def absent(attribute: str) -> type[Absent]:
        if attribute.startswith("__"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}")
        found = type(attribute, (Absent,), {"__module__": module.__name__})
        setattr(module, attribute, found)
        return found

    module.__dict__["__getattr__"] = absent
    return module


for _name in SUBMODULES:
    _found = _module(_name)
    sys.modules[f"{__name__}.{_name}"] = _found
    _parent, _, _leaf = _name.rpartition(".")
    setattr(sys.modules[f"{__name__}.{_parent}" if _parent else __name__], _leaf, _found)
for _name in ("transforms", "transforms.transforms"):
    sys.modules[f"{__name__}.{_name}"].__dict__.update(Compose=Compose, Lambda=Lambda)
