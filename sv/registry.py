"""A registry: names that a user may write in a YAML file, and what they build.

The options of a builder are its keyword-only parameters; their annotations are their types and their defaults stand in
the signature alone. A registry checks a user's options against that signature and names what it does not know.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from sv.errors import UserError

Built = TypeVar("Built")


class Registry(Generic[Built]):
    """Builders by name. `kind` is the word that errors use: "loss", "model"."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Callable[..., Built]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Built]], Callable[..., Built]]:
        """Decorator that files a class or function under `name`."""

        def file_it(builder: Callable[..., Built]) -> Callable[..., Built]:
            assert name not in self._builders, f"{self.kind} {name} is registered twice"
            self._builders[name] = builder
            return builder

        return file_it

    def names(self) -> list[str]:
        return list(self._builders)

    def build(self, name: str, *positional: Any, **options: Any) -> Built:
        """Build `name` with the options given; the others keep their defaults."""
        return self._builder(name)(*positional, **self.resolve(name, options))

    def resolve(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options of `name`, those given checked, the others at their defaults.

        Raises:
            UserError: an unknown name or option (the known ones are listed), a value of another type.
        """
        known = self._options(name)
        for option in options:
            if option not in known:
                raise UserError(f"{self.kind} {name} has no option {option!r}{suggest(option, known)}")
        return {
            option: _checked(f"{self.kind} {name}: {option}", parameter, options.get(option, parameter.default))
            for option, parameter in known.items()
        }

    def _builder(self, name: str) -> Callable[..., Built]:
        if name not in self._builders:
            raise UserError(f"unknown {self.kind} {name!r}{suggest(name, self._builders)}")
        return self._builders[name]

    def _options(self, name: str) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(self._builder(name), eval_str=True).parameters
        return {key: p for key, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def suggest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """The end of an error about an unknown word: the nearest known one, and all of them."""
    near = difflib.get_close_matches(word, known, n=len(known) or 1)
    hint = f"; did you mean {max(near, key=partial(_likeness, word))!r}?" if near else ";"
    return f"{hint} known: {', '.join(known) or 'none'}"


def _likeness(word: str, name: str) -> tuple[float, int]:
    """How alike two words are; of equally alike ones, ResNet35 is nearer to ResNet34 than to ResNet50."""
    matcher = difflib.SequenceMatcher(None, name, word)
    return matcher.ratio(), matcher.find_longest_match().size


def _checked(where: str, parameter: inspect.Parameter, value: Any) -> Any:
    if value is inspect.Parameter.empty:
        raise UserError(f"{where} must be given")
    if parameter.annotation is inspect.Parameter.empty:
        return value
    try:
        return TypeAdapter(parameter.annotation).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{where} is {value!r}: {error.errors()[0]['msg']}") from error
