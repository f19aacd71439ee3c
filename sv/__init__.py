"""Speaker verification with SphereFace2 and the losses it is compared with.

`sv.Verifier` decides whether two recordings are of the same speaker.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sv.embeddings.embedder import Embedder, Recording
    from sv.enrolled import Enrolled, Identification
    from sv.errors import UserError
    from sv.verifier import Speaker, Verdict, Verifier

__version__ = "0.1.0"
_HOMES = {
    "Enrolled": "sv.enrolled",
    "Identification": "sv.enrolled",
    "Embedder": "sv.embeddings.embedder",
    "Recording": "sv.embeddings.embedder",
    "Speaker": "sv.verifier",
    "UserError": "sv.errors",
    "Verdict": "sv.verifier",
    "Verifier": "sv.verifier",
}
__all__ = [
    "Embedder",
    "Enrolled",
    "Identification",
    "Recording",
    "Speaker",
    "UserError",
    "Verdict",
    "Verifier",
    "__version__",
]


def __dir__() -> list[str]:
    """Return the public names, for tab completion."""
    return sorted(__all__)


def __getattr__(name: str) -> object:
    """Import a public name, and with most of them torch, only when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sv' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
