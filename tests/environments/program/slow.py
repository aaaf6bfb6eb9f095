"""A second reading of the program language, written from its description alone: it walks the words themselves, knows
no types and no code, has no limits but a budget of statements, and notes how large its values grew."""

from dataclasses import dataclass

FUNCTIONS = ("sort", "reverse", "rest", "unique", "sum", "max", "min", "count", "first", "last")
LOOSEST_FIRST = (("<", ">"), ("+", "-"), ("*", "/", "%"))


class OutOfBudget(Exception):
    pass


class NothingReturned(Exception):
    pass


@dataclass
class Reader:
    names: dict
    budget: int = 3000
    largest: int = 0
    longest: int = 0

    def program(self, words):
        found, value = self.block(words)
        if not found:
            raise NothingReturned
        return value

    def block(self, words):
        """Run statements in turn: (whether one returned, what)."""
        while words:
            self.budget -= 1
            if self.budget < 0:
                raise OutOfBudget
            if words[0] in ("if", "while"):
                opening = words.index("{")
                closing = self.closing(words, opening)
                condition, body, rest = words[1:opening], words[opening + 1 : closing], words[closing + 1 :]
                if words[0] == "if":
                    otherwise = []
                    if rest[:1] == ["else"]:
                        end = self.closing(rest, 1)
                        otherwise, rest = rest[2:end], rest[end + 1 :]
                    found, value = self.block(body if self.value(condition) != 0 else otherwise)
                else:
                    found, value = self.block(body + words[: closing + 1]) if self.value(condition) != 0 else (False, 0)
                if found:
                    return True, value
                words = rest
                continue
            end = 2
            while (
                end < len(words) and words[end] not in ("if", "while", "return") and words[end + 1 : end + 2] != ["="]
            ):
                end += 1
            if words[0] == "return":
                return True, self.value(words[1:end])
            self.names[words[0]] = self.value(words[2:end])
            words = words[end:]
        return False, 0

    @staticmethod
    def closing(words, opening):
        depth = 0
        for at in range(opening, len(words)):
            depth += {"{": 1, "}": -1}.get(words[at], 0)
            if depth == 0:
                return at
        raise AssertionError("the tests write closed blocks only")

    def value(self, words):
        return self.noted(self.split(words))

    def split(self, words):
        """Apply the last of the loosest operators that no bracket encloses to what stands on its two sides."""
        for operators in LOOSEST_FIRST:
            depth = 0
            for at in range(len(words) - 1, -1, -1):
                depth += {")": 1, "(": -1}.get(words[at], 0)
                if depth == 0 and words[at] in operators:
                    left, right = self.value(words[:at]), self.value(words[at + 1 :])
                    return self.combine(left, words[at], right)
        if words[-1] in FUNCTIONS:
            return self.function(words[-1], self.value(words[:-1]))
        if words[0] == "(":
            return self.value(words[1:-1])
        (word,) = words
        return int(word) if word.isdigit() else self.names[word]

    def combine(self, left, operator, right):
        if isinstance(right, list):
            return [*left, *right]
        if not isinstance(left, list):
            return self.scalar(left, operator, right)
        if operator == "<":
            return [item for item in left if item < right]
        if operator == ">":
            return [item for item in left if not item <= right]
        if operator in ("/", "%") and right == 0:
            raise ZeroDivisionError  # also where there is no item to divide
        return [self.scalar(item, operator, right) for item in left]

    @staticmethod
    def scalar(a, operator, b):
        if operator == "+":
            return a - -b
        if operator == "-":
            return -(b - a)
        if operator == "*":
            return sum([a] * b) if 0 <= b < 100 else -a * -b
        if operator == "/":
            return divmod(a, b)[0]
        if operator == "%":
            return divmod(a, b)[1]
        return 1 if (a < b if operator == "<" else b < a) else 0

    @staticmethod
    def function(name, items):
        if name == "sort":
            done, left = [], list(items)
            while left:
                done.append(left.pop(left.index(min(left))))
            return done
        if name == "reverse":
            return [items[-1 - i] for i in range(len(items))]
        if name == "rest":
            return [item for i, item in enumerate(items) if i]
        if name == "unique":
            return [item for i, item in enumerate(items) if item not in items[:i]]
        if name == "count":
            return len([1 for _ in items])
        if not items:
            return 0
        ordered = sorted(items)
        return {"sum": sum(items), "max": ordered[-1], "min": ordered[0], "first": items[0], "last": items[-1]}[name]

    def noted(self, value):
        items = value if isinstance(value, list) else [value]
        self.largest = max([self.largest, *map(abs, items)])
        self.longest = max(self.longest, len(items))
        return value


def evaluate(text, argument):
    """The value a program returns, and the Reader that met it. Raises ZeroDivisionError, KeyError (a name that was
    never set), NothingReturned or OutOfBudget."""
    reader = Reader({"input": list(argument)})
    try:
        return reader.program(text.split()), reader
    except Exception as error:
        error.reader = reader
        raise
