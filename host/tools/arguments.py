"""The argument parser of all commands (cli.md sections 2.2 and 2.4).

argparse with: `--opt value` and `--opt=value`, unambiguous prefixes, options whose boolean word
is optional (`--keep_aspect_ratio`, `--keep_aspect_ratio false`), number lists that begin with a
minus (`--mean -1,2,3`), near names for an unknown option, and the words of a comment that a
continuation backslash has glued to the command.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import math
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from ..compiler.errors import OptionError

TRUE_WORDS, FALSE_WORDS = ("true", "yes", "1"), ("false", "no", "0")
_NUMBERS = re.compile(r"-\.?\d[\d.eE+-]*(\s*,\s*-?\.?\d[\d.eE+-]*)*")


def bool_word(text: str) -> bool:
    """true/false/yes/no/1/0 in any case."""
    word = text.lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise argparse.ArgumentTypeError(f"{text!r} is not one of true, false, yes, no, 1, 0")


def names(text: str) -> list[str]:
    """Comma-separated names, blanks around commas dropped; `-` and the empty text mean none."""
    return [] if text.strip() in ("", "-") else [n.strip() for n in text.split(",") if n.strip()]


def floats(text: str) -> list[float]:
    """Comma-separated finite numbers."""
    try:
        numbers = [float(n) for n in text.split(",")]
        if all(map(math.isfinite, numbers)):
            return numbers
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a comma-separated list of numbers")


def ints(text: str) -> list[int]:
    """Comma-separated whole numbers."""
    try:
        return [int(n) for n in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a comma-separated list of whole numbers"
        ) from None


def shapes(text: str) -> list[list[int]]:
    """`[[1,3,224,224],[1,10]]`; a one-level list is one input (section 2.2)."""
    try:
        value = ast.literal_eval(text.strip())
        if not isinstance(value, list | tuple):
            raise ValueError
        flat = bool(value) and all(isinstance(d, int) for d in value)
        rows: list[Any] = [value] if flat else list(value)
        out = [[int(d) for d in row] for row in rows]
        if not out or any(
            isinstance(d, bool) or not isinstance(d, int) or d < 1 for row in rows for d in row
        ):
            raise ValueError
        return out
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of shapes such as [[1,3,224,224]] (in zsh put it in quotes)"
        ) from None


class Parser(argparse.ArgumentParser):
    """Every usage error is an OptionError (one paragraph, exit code 2)."""

    def __init__(self, prog: str, description: str, **kw: Any):
        kw.setdefault(
            "formatter_class",
            lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        )
        super().__init__(prog=prog, description=description, **kw)
        self.bool_options: set[str] = set()

    def add_bool(self, *flags: str, default: bool = False, help: str = "", **kw: Any) -> None:
        """An option that is true when bare and may be followed by a boolean word."""
        self.add_argument(
            *flags, type=bool_word, default=default, metavar="true|false", help=help, **kw
        )
        self.bool_options.update(flags)

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; `{self.prog} --help` lists the options")

    # ---- parsing
    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The options. `present`: the destinations that were given; `typed`: option name -> its
        word.

        The names in `typed` are those of the flags, spelled out, without dashes.
        """
        argv = list(argv)
        self._check_comment_trap(argv)
        joined, present, typed = self._join_values(argv)
        options, extra = self.parse_known_args(joined)
        if extra:
            self.error(self._unknown(extra[0]))
        options.present, options.typed = present, typed
        return options

    def find(self, token: str) -> tuple[str, argparse.Action] | None:
        """The option that a token means (full name or unambiguous prefix) and its action."""
        flag = token.split("=", 1)[0]
        if flag in self._option_string_actions:
            return flag, self._option_string_actions[flag]
        if not flag.startswith("--") or len(flag) < 3:
            return None
        found = [(o, a) for o, a in self._option_string_actions.items() if o.startswith(flag)]
        return found[0] if len({id(a) for _, a in found}) == 1 else None

    def _prefixed(self, token: str) -> bool:
        """Whether any option begins with this token (then argparse reports the ambiguity)."""
        flag = token.split("=", 1)[0]
        return any(o.startswith(flag) for o in self._option_string_actions)

    def _join_values(self, argv: list[str]) -> tuple[list[str], set[str], dict[str, str]]:
        """Make `--opt=value` of optional boolean words and negative number lists."""
        out: list[str] = []
        present: set[str] = set()
        typed: dict[str, str] = {}
        i = 0
        while i < len(argv):
            token = argv[i]
            i += 1
            found = self.find(token)
            if found is None:
                if token.startswith("--") and not self._prefixed(token):
                    self.error(self._unknown(token))
                out.append(token)
                continue
            flag, action = found
            if "=" not in token and self.bool_options.intersection(action.option_strings):
                word = i < len(argv) and argv[i].lower() in TRUE_WORDS + FALSE_WORDS
                token += "=" + (argv[i] if word else "true")
                i += word
            elif (
                "=" not in token
                and action.nargs != 0
                and _NUMBERS.fullmatch("".join(argv[i : i + 1]))
            ):
                token += "=" + argv[i]
                i += 1
            value = token.partition("=")[2] if "=" in token else argv[i] if i < len(argv) else ""
            present.add(action.dest)
            typed[flag.lstrip("-")] = value
            out.append(token)
        return out, present, typed

    def _unknown(self, token: str) -> str:
        if not token.startswith("-"):
            return f"unexpected argument {token!r}"
        flag = token.split("=", 1)[0]
        near = difflib.get_close_matches(flag, list(self._option_string_actions), 3, 0.6)
        return f"unknown option {flag}" + (f" (did you mean {' or '.join(near)}?)" if near else "")

    # ---- section 2.4
    def _check_comment_trap(self, argv: list[str]) -> None:
        stray = self._first_comment(argv)
        if stray is None:
            return
        kept = argv[:stray]
        seen = {id(found[1]) for found in map(self.find, kept) if found is not None}
        missing = [
            a for a in self._actions if a.required and a.option_strings and id(a) not in seen
        ]
        added = [f"{a.option_strings[0]} {a.dest.upper()}" for a in missing]
        lost = ", ".join(a.option_strings[0] for a in missing)
        behind = f" Put back {lost}, which stood behind it." if missing else ""
        raise OptionError(
            "a comment after a line-continuation backslash: in `... \\ # comment` the backslash "
            "quotes the blank instead of continuing the line, so the comment becomes arguments and "
            "the following lines are run as a command of their own. Remove the comment."
            f"{behind} Corrected: {' '.join([self.prog, *map(shlex.quote, kept), *added])}"
        )

    def _first_comment(self, argv: list[str]) -> int | None:
        """Index of the first token, no option's value, that is blank or starts with #."""
        value_of: argparse.Action | None = None
        for i, token in enumerate(argv):
            if value_of is not None:
                value_of = None
                continue
            if not token.strip() or token.lstrip().startswith("#"):
                return i
            found = self.find(token) if token.startswith("-") and "=" not in token else None
            if found is None or found[1].nargs is not None:
                continue
            if not self.bool_options.intersection(found[1].option_strings):
                value_of = found[1]
        return None
