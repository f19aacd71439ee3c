"""Speaker verification with SphereFace2 and the losses it is compared with.

`sv.Verifier` tells whether two recordings are of the same speaker.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sv.verifier import Verifier

__all__ = ["Verifier"]


def __getattr__(name: str) -> object:
    """Import the verifier, and with it torch, only when it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'sv' has no attribute {name!r}")
    from sv.verifier import Verifier

    return Verifier
