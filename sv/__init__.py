"""Speaker verification with SphereFace2 and the losses it is compared with.

`sv.Verifier` tells whether two recordings are of the same speaker.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sv.errors import UserError
    from sv.verifier import Recording, Speaker, Verdict, Verifier

__version__ = "0.1.0"
__all__ = ["Recording", "Speaker", "UserError", "Verdict", "Verifier", "__version__"]


def __dir__() -> list[str]:
    """Return the public names, for tab completion."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """Import the verifier, and with it torch, only when it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'sv' has no attribute {name!r}")
    if name == "UserError":
        from sv.errors import UserError

        return UserError
    import sv.verifier

    return getattr(sv.verifier, name)
