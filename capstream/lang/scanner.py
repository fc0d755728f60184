"""Lexical rules. The parser asks for a token where it knows which kinds can stand there, so no token needs a guess.

Source: data-prep.md 2.2; Apache Commons JEXL 3 syntax reference.
"""

import re

from capstream.lang.diagnostics import Code, Diagnostic, ParseError
from capstream.lang.nodes import Index, Name, Span, Star, Step

MAX_LENGTH = 4096
MAX_DEPTH = 64

RESERVED = frozenset(
    {
        "new", "mod", "or", "break", "var", "lt", "for", "false", "while", "eq", "gt", "div", "not", "null", "continue", "else",
        "and", "ne", "true", "le", "if", "ge", "return", "_errors", "do", "function", "empty", "size",
    }
)  # fmt: skip

_SPACE = re.compile(r"(?:\s+|//[^\n]*|##[^\n]*|/\*.*?\*/)+", re.DOTALL)
_IDENT = re.compile(r"(?:[^\W\d]|[$_]|\\.)(?:[\w$]|\\.)*", re.DOTALL)
_MEMBER = re.compile(r"(?:[\w$@]|\\.)+", re.DOTALL)
_WORD = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(
    r"(?P<hex>0[xX][0-9a-fA-F]+)[lLhH]?(?![\w$])"
    r"|(?P<real>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)[fFdDbB]?(?![\w$])"
    r"|(?P<int>[0-9]+)(?P<suffix>[lLhHfFdDbB]?)(?![\w$])"
)
_OPERATOR = re.compile(
    r">>>|===|!==|<<|>>|==|!=|<=|>=|=~|!~|=\^|!\^|=\$|!\$|&&|\|\||\.\.|\?\?|\?:|[-+*/%<>&|^?]"
    r"|(?:eq|ne|lt|gt|le|ge|and|or|div|mod)(?![\w$@\\])"
)
_STRING = re.compile(r"\"(?:[^\"\\\r\n]|\\[^\r\n])*\"|'(?:[^'\\\r\n]|\\[^\r\n])*'")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\"}
_LAMBDA = re.compile(r"(?:([^\W\d][\w$]*)|\(\s*(?:([^\W\d][\w$]*(?:\s*,\s*[^\W\d][\w$]*)*)\s*)?\))\s*->")
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_WRAPPED = re.compile(r"\$\{((?:[^}\\]|\\.)*)\}", re.DOTALL)
_INNER = re.compile(
    r"\[\s*(?:(\*|[0-9]{1,9})\s*)?\]|(\.)|((?:[^.\[\\]|\\.|\[(?!\s*(?:(?:\*|[0-9]{1,9})\s*)?\]))+)", re.DOTALL
)  # never two repeats of blanks side by side: hostile text would make them quadratic
_LONE = re.compile("[\ud800-\udfff]")


class Scanner:
    """A cursor over the text of one expression."""

    __slots__ = ("at", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def error(self, message: str, *, code: Code = Code.SYNTAX, at: int | None = None, hint: str = "") -> ParseError:
        """Return the error to raise, placed at `at` or at the cursor."""
        start = self.at if at is None else at
        return ParseError(Diagnostic(code, message, Span(start, start + 1), hint))

    def skip(self) -> int:
        """Return the place of the next token, past white space and comments."""
        if match := _SPACE.match(self.source, self.at):
            self.at = match.end()
        if self.source.startswith("/*", self.at):
            raise self.error("Comment is not closed")
        return self.at

    def done(self) -> bool:
        """Say whether nothing but white space is left."""
        return self.skip() >= len(self.source)

    def looking_at(self, text: str) -> bool:
        """Say whether the next token starts with `text`."""
        return self.source.startswith(text, self.skip())

    def accept(self, text: str) -> bool:
        """Take `text` when it is next."""
        if not self.looking_at(text):
            return False
        self.at += len(text)
        return True

    def expect(self, text: str, where: str) -> None:
        """Take `text` or raise."""
        if not self.accept(text):
            raise self.error(f"Expected '{text}' {where}, found {self.found()}")

    def found(self) -> str:
        """Return the next character for a message."""
        self.skip()
        return f"'{self.source[self.at]}'" if self.at < len(self.source) else "the end"

    def operator(self) -> str:
        """Return the binary operator that is next, not taken; empty when there is none."""
        match = _OPERATOR.match(self.source, self.skip())
        if match is None:
            return ""
        text = match.group()
        if self.source.startswith("->", self.at):
            raise self.error("A function can only stand as an argument")
        if text in {"+", "-"} and self.source.startswith(text * 2, self.at):
            raise self.error(f"'{text * 2}' is not part of the language", hint=f"put a blank between the '{text}'")
        return text

    def word(self) -> str:
        """Return the word that is next, not taken; empty when there is none."""
        match = _WORD.match(self.source, self.skip())
        return match.group() if match else ""

    def identifier(self) -> str | None:
        """Take an identifier and return its unescaped text."""
        match = _IDENT.match(self.source, self.skip())
        if match is None:
            return None
        self.at = match.end()
        return _UNESCAPE.sub(r"\1", match.group())

    def member(self) -> str | None:
        """Take a name after a dot (reserved words and leading digits allowed) and return its unescaped text."""
        match = _MEMBER.match(self.source, self.skip())
        if match is None:
            return None
        self.at = match.end()
        return _UNESCAPE.sub(r"\1", match.group())

    def lambda_head(self) -> tuple[str, ...] | None:
        """Take `x ->` or `(x, y) ->` and return the parameter names; None when no lambda starts here."""
        match = _LAMBDA.match(self.source, self.skip())
        if match is None:
            return None
        self.at = match.end()
        single, several = match.groups()
        if single:
            return (single,)
        return tuple(name.strip() for name in several.split(",")) if several else ()

    def string(self) -> str | None:
        """Take a string literal and return its text. An unknown escape keeps its backslash."""
        if self.source[self.skip() : self.at + 1] not in {'"', "'"}:
            return None
        match = _STRING.match(self.source, self.at)
        if match is None:
            raise self.error("String is not closed on its line")
        self.at = match.end()
        text = match.group()
        return text[1:-1] if "\\" not in text else _unescape(text[1:-1], delimiter=text[0])

    def number(self) -> int | float | None:
        """Take a number literal and return its value. A leading zero means octal."""
        if not (match := _NUMBER.match(self.source, self.skip())):
            return None
        value: int | float
        if match["hex"]:
            value = int(match["hex"], 16)
        elif match["real"]:
            value = float(match["real"])
        elif match["suffix"] and match["suffix"] in "fFdDbB":
            value = float(match["int"])
        else:
            value = self._integer(match["int"])
        if value == float("inf"):
            raise self.error("Number is too large for a double")
        self.at = match.end()
        return value

    def _integer(self, digits: str) -> int:
        octal = len(digits) > 1 and digits[0] == "0"
        if octal and not set(digits) <= set("01234567"):
            raise self.error("A leading zero makes an octal number, which has no digit 8 or 9", hint="drop the zero")
        return int(digits, 8 if octal else 10)

    def wrapped(self) -> tuple[Step, ...] | None:
        """Take `${...}` and return its steps."""
        if not self.source.startswith("${", self.skip()):
            return None
        match = _WRAPPED.match(self.source, self.at)
        if match is None:
            raise self.error("'${' is not closed", hint="write '}' at its end")
        steps = split_path(match[1])
        if steps is None:
            raise self.error("Not a path inside '${...}'")
        self.at = match.end()
        return steps


def split_path(text: str) -> tuple[Step, ...] | None:
    """Return the steps of a path written without expression syntax, or None when it is not one.

    Shape: `.` separates, `\\` escapes any character, `[n]`, `[*]` and `[]` index; every other character belongs to a name.
    """
    steps: list[Step] = []
    at, want_name = 0, True
    while at < len(text):
        match = _INNER.match(text, at)
        if match is None:
            return None
        index, dot, name = match.groups()
        if name is not None:
            if not want_name:
                return None
            steps.append(Name(_UNESCAPE.sub(r"\1", name)))
            want_name = False
        elif dot:
            if want_name:
                return None
            want_name = True
        else:
            if want_name:
                return None
            steps.append(Star() if index in {None, "*"} else Index(int(index)))
        at = match.end()
    return None if want_name else tuple(steps)


def _unescape(text: str, *, delimiter: str) -> str:
    def one(match: re.Match[str]) -> str:
        escape = match[1]
        if escape == delimiter:
            return delimiter
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        return _SIMPLE.get(escape, match[0])

    result = _ESCAPE.sub(one, text)
    if _LONE.search(result):  # \u escapes write characters beyond the BMP as two halves
        result = result.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return result
