"""A registry: names that a user may write in a YAML file, their options, and what they build.

Options are a class of fields with types, ranges and defaults. A registry names what it does not know, and suggests what
may have been meant. Heavy builders are imported when they are used, so that names and options cost nothing.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from sv.errors import UserError, WrongCall, suggest

Built = TypeVar("Built")


class Options(BaseModel):
    """Options of one builder; a subclass has a field for each, with its type, range and default."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # few of the classes are used in a process


@dataclass(frozen=True)
class _Row(Generic[Built]):
    options: type[Options]
    build: Callable[..., Built]  # of positional arguments and options


class Registry(Generic[Built]):
    """Builders by name.

    Attributes:
        kind: the word that errors use: "loss", "model".
        elsewhere: names that WeSpeaker or a paper has for some of them -> ours; errors tell ours.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.elsewhere: dict[str, str] = {}
        self._rows: dict[str, _Row[Built]] = {}

    def add(self, name: str, options: type[Options], builder: str, **fixed: Any) -> None:
        """Add a builder that is imported when it is used.

        Args:
            options: the class of its options, of which it gets an object as its last positional argument.
            builder: where it lives, "sv.losses.aam_softmax:AamSoftmax".
            fixed: keyword arguments that the name stands for.
        """
        self._add(name, options, partial(_import_and_call, builder, fixed))

    def register(self, name: str) -> Callable[[Callable[..., Built]], Callable[..., Built]]:
        """Decorate a function whose keyword-only parameters are its options."""

        def add(function: Callable[..., Built]) -> Callable[..., Built]:
            self._add(name, _options_of(function), partial(_call_with_keywords, function))
            return function

        return add

    def names(self) -> list[str]:
        """Return the known names, in the order in which they were added."""
        return list(self._rows)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise WrongCall if a name that an argument gives is unknown; in a configuration that is a UserError."""
        for name in names:
            if name not in self._rows:
                raise WrongCall(self._unknown(name))

    def options(self, name: str, given: Mapping[str, Any]) -> Options:
        """Return the options of `name`: those given checked, the others at their defaults.

        Raises:
            UserError: the name or an option is unknown (the known ones are listed); a value has another type or is out
                of range.
        """
        known = self._row(name).options
        for option in given:
            if option not in known.model_fields:
                raise UserError(f"{self.kind} {name} has no option {option!r}{suggest(option, known.model_fields)}")
        try:
            return known.model_validate(dict(given))
        except ValidationError as error:
            raise UserError(f"{self.kind} {name}: {_explain(error)}") from error

    def resolve(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return `options` as plain values."""
        return self.options(name, given).model_dump()

    def build(self, name: str, *positional: Any, **given: Any) -> Built:
        """Build `name` with the options given; the others keep their defaults."""
        return self._row(name).build(*positional, self.options(name, given))

    def _add(self, name: str, options: type[Options], build: Callable[..., Built]) -> None:
        assert name not in self._rows, f"{self.kind} {name} is registered twice"
        self._rows[name] = _Row(options, build)

    def _row(self, name: str) -> _Row[Built]:
        if name not in self._rows:
            raise UserError(self._unknown(name))
        return self._rows[name]

    def _unknown(self, name: str) -> str:
        hint = f"; here it is {self.elsewhere[name]}" if name in self.elsewhere else suggest(name, self._rows)
        return f"unknown {self.kind} {name!r}{hint}"


def _import_and_call(builder: str, fixed: Mapping[str, Any], *positional: Any) -> Any:
    module, name = builder.split(":")
    return getattr(import_module(module), name)(*positional, **fixed)


def _call_with_keywords(function: Callable[..., Any], *positional: Any) -> Any:
    *arguments, options = positional
    return function(*arguments, **dict(options))


def _options_of(function: Callable[..., Any]) -> type[Options]:
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }
    return create_model(function.__name__, __base__=Options, **fields)


def _explain(error: ValidationError) -> str:
    """Return one line for the first thing that is wrong."""
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{option} must be given"
    return explain_value(option, first) if option else first["msg"]


def explain_value(name: str, error: Any) -> str:
    """Return one line about a value that pydantic refused; for a word, with the nearest of those that are known."""
    told, known = f"{name} is {error['input']!r:.200}", []
    if error["type"] == "literal_error":
        known = re.findall("'([^']+)'", error["ctx"]["expected"])
    return f"{told}{suggest(str(error['input']), known)}" if known else f"{told}: {error['msg']}"
