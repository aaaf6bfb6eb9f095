"""The language and its interpreter: values by hand, what is refused, bounds on hostile programs, a second evaluator."""

import random
from dataclasses import replace

import pytest

from repro.environments.program import LIMITS, ProgramError, parse, run
from tests.environments.program import slow

SAMPLE = [3, 1, 4, 1, 5]


def value(text, argument=SAMPLE):
    return run(parse(text), argument)


def kind(text, argument=SAMPLE):
    with pytest.raises(ProgramError) as caught:
        value(text, argument)
    return caught.value.kind


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("return input", (3, 1, 4, 1, 5)),
        ("return input sort", (1, 1, 3, 4, 5)),
        ("return input reverse", (5, 1, 4, 1, 3)),
        ("return input rest", (1, 4, 1, 5)),
        ("return input unique", (3, 1, 4, 5)),
        ("return input sum", 14),
        ("return input max", 5),
        ("return input min", 1),
        ("return input count", 5),
        ("return input first", 3),
        ("return input last", 5),
        ("return input + 2", (5, 3, 6, 3, 7)),
        ("return input - 2", (1, -1, 2, -1, 3)),
        ("return input * 3", (9, 3, 12, 3, 15)),
        ("return input / 2", (1, 0, 2, 0, 2)),
        ("return ( input - 4 ) / 2", (-1, -2, 0, -2, 0)),  # -1 / 2 and -3 / 2 round down
        ("return ( input - 4 ) % 3", (2, 0, 0, 0, 1)),
        ("return input > 3", (4, 5)),
        ("return input < 3", (1, 1)),
        ("return input + input rest", (3, 1, 4, 1, 5, 1, 4, 1, 5)),
        ("return 2 + 3 * 4", 14),
        ("return ( 2 + 3 ) * 4", 20),
        ("return 9 - 4 - 3", 2),
        ("return 20 / 3 / 2", 3),
        ("return 2 < 3", 1),
        ("return 3 < 3", 0),
        ("return 1 + 1 > 1", 1),
        ("return input sum + 1", 15),  # a function binds more tightly than any operator
        ("return ( input + 1 ) sum", 19),
        ("return input sort rest sum", 13),
        ("a = 2 b = a + 3 a = b * b return a - b", 20),
        ("a=2 b=a+3\nreturn(a*b)", 10),
        ("input = input rest return input", (1, 4, 1, 5)),
        ("if input sum > 9 { return 1 } return 2", 1),
        ("if input sum > 99 { return 1 } else { return 2 }", 2),
        ("a = 1 if 0 { a = 2 } else { a = 3 } return a", 3),
        ("a = input while a sum > 9 { a = a rest } return a", (4, 1, 5)[1:]),
        ("a = 0 b = 0 while a < 5 { a = a + 1 b = b + a } return b", 15),
        ("a = 3 while a > 0 { b = 3 while b > 0 { b = b - 1 } a = a - 1 } return a - b", 0),
        ("while 1 { return 7 }", 7),
        ("return 1 return 0 / 0", 1),
    ],
)
def test_values(text, result):
    assert value(text) == result


@pytest.mark.parametrize("function", ["sum", "max", "min", "count", "first", "last"])
def test_numbers_of_an_empty_list_are_zero(function):
    assert value(f"return input {function}", []) == 0
    assert value("return input sort unique reverse rest", []) == ()


@pytest.mark.parametrize("text", [
    "a", "a =", "= 3", "a 3", "3", "return", "return return 3", "return 3 4", "return ( 3", "return 3 )", "return ( )",
    "return 3 +", "return * 3", "return - 3", "return 2 + - 3", "return input input", "return sum input", "sort = 3",
    "while = 3", "if 1 { return 3", "if 1 return 3", "while { return 3 }", "else { return 3 }", "} return 3",
    "return 3 ;", "return input [ 0 ]", "return 'x'", "return 3.5", "return 3 == 3", "import os",
    "return exec ( 3 ) ; 3", "return input . append", "lambda : 0", "```", "\x00", "return ３", "return input ＋ 3",
    "naïve = 3 return naïve", "return 3 # three", "\u200breturn 3", "return\xa03", "\ud800", "🍇 = 1",
])  # fmt: skip
def test_no_program_of_the_language(text):
    assert kind(text) == "syntax"


@pytest.mark.parametrize("text", [
    "return 3 + input", "return 3 sum", "return input sum sum", "return input * input", "return input > input",
    "return fig", "a = a + 1 return a", "a = 3 a = input return a", "a = input a = a sum return a",
    "while input { return 3 }", "if input sort { return 3 }", "return 3 < input", "return ( 3 ) sum",
])  # fmt: skip
def test_ill_typed_programs_never_run(text):
    assert kind(text) == "type"
    assert kind(f"return 1 {text}") == "type"  # not even where they would not be reached


@pytest.mark.parametrize("text", [
    "", " \n\t", "a = 3", "if 0 { return 3 }", "while 0 { }", "return 3 / 0", "return input % 0",
    "return ( input > 99 ) / 0", "if 0 { a = 3 } return a",
])  # fmt: skip
def test_programs_that_stop_without_a_value(text):
    assert kind(text) == "value"


@pytest.mark.parametrize("text", [
    "while 1 { }",
    "a = 1 while a > 0 { a = a + 1 } return a",
    "while 1 { " * 20 + "}" * 20,
    "a = 2 while 1 { a = a * a }",
    "a = input while 1 { a = a + a }",
    "a = input + input + input " + "a = a sort " * 300 + "while 1 { a = a sort }",
    "return 1000000001",
    "return 1000000000 + 1",
    "return ( input - 10 ) * 1000000000",
    "return " + "9" * 100,
    "return " + "( " * 33 + "3" + " )" * 33,
    "return " + "( " * 1900,
    "return input" + " sort" * 700 + " while 1 { }" * 100,
    "if 1 { " * 33 + "}" * 33,
    "return 1" + " + 1" * 1000,
    "a" * 4001,
    "return 3 " * 200_000,
], ids=lambda text: f"{text[:24]!r}...")  # fmt: skip
def test_every_program_ends(text):
    assert kind(text) == "limit"


def test_the_limits_are_where_they_are_said_to_be():
    assert value("return " + "( " * 32 + "3" + " )" * 32) == 3
    assert value("return 1000000000 - 0 - 1000000000 - 1000000000") == -(10**9)
    assert value("return 1" + " + 1" * 900) == 901  # long, but not deep
    assert value("return input" + " sort" * 700) == (1, 1, 3, 4, 5)
    assert len(value("return input", range(256))) == 256
    assert len(value("return input + ( input < 128 )", range(128))) == 256
    assert kind("return input + ( input < 129 )", range(129)) == "limit"
    # load, push, apply with 5 items: 8 steps and the return makes 9
    code = parse("return input + 1")
    assert run(code, SAMPLE, replace(LIMITS, steps=9)) == (4, 2, 5, 2, 6)
    with pytest.raises(ProgramError, match="more than 7 steps"):
        run(code, SAMPLE, replace(LIMITS, steps=7))


def test_parsing_looks_at_each_word_a_bounded_number_of_times():
    """Word reads per word do not grow with the program, so its cost is linear in its length."""
    from repro.environments.program import language

    class Counting(list):
        reads = 0

        def __getitem__(self, at):
            Counting.reads += 1
            return super().__getitem__(at)

    def reads_per_word(text):
        words = text.split()
        parser = language._Parser(words, LIMITS)
        parser.words, Counting.reads = Counting(parser.words), 0
        while parser.word:
            parser.statement()
        return Counting.reads / len(words)

    for statement in (
        "a = ( 1 + 2 ) * 3 ",
        "a = 1 + 2 * 3 < 4 ",
        "if 1 { a = 1 } else { a = 2 } ",
        "return input sort sum ",
    ):
        assert reads_per_word(statement * 1000) < 1.01 * reads_per_word(statement * 10)


def test_running_does_not_change_the_argument_or_the_program():
    code, argument = parse("input = input sort a = input + input return a"), [3, 1, 2]
    assert run(code, argument) == run(code, argument) == (1, 2, 3, 1, 2, 3)
    assert argument == [3, 1, 2]


def test_random_words_are_programs_or_refused():
    """Nothing but ProgramError ever comes out, and some of the texts are even programs."""
    words = "return return a = = input sort sum 1 2 + * / > ( ) { } while if else 999999999999 \x00 é".split(" ")
    kinds = set()
    for index in range(3000):
        rng = random.Random(f"words:{index}")
        try:
            value(" ".join(rng.choices(words, k=rng.randint(1, 12))))
            kinds.add("program")
        except ProgramError as error:
            kinds.add(error.kind)
    assert kinds >= {"program", "syntax", "type", "limit"}


class Writer:
    """Random well-typed programs; some divide by zero, read a name that no branch has set, or grow past a limit."""

    def __init__(self, rng):
        self.rng = rng
        self.types = {"input": "list"}

    def expression(self, wanted, depth):
        rng, known = self.rng, [name for name, type in self.types.items() if type == wanted]
        choice = rng.random()
        if depth == 0 or choice < 0.15:
            if wanted == "number" and (not known or rng.random() < 0.5):
                return str(rng.choice([0, 1, 2, 3, 7, 12, 40000]))
            return rng.choice(known)
        if choice < 0.3:
            return f"( {self.expression(wanted, depth - 1)} )"
        if choice < 0.5 or wanted == "list" and choice < 0.6:
            functions = slow.FUNCTIONS[:4] if wanted == "list" else slow.FUNCTIONS[4:]
            operand = self.expression("list", depth - 1)
            bracketed = f"( {operand} )" if " " in operand else operand
            return f"{bracketed} {rng.choice(functions)}"
        if wanted == "list" and choice < 0.65:
            right = self.expression("list", depth - 1)
            return f"( {self.expression('list', depth - 1)} ) + ( {right} )"
        # The right operand of a looser operator may bind first: then both sides of it must still be numbers.
        operator, right = rng.choice("+-*/%<>"), self.expression("number", depth - 1)
        left = self.expression(wanted, depth - 1)
        if wanted == "list":
            return f"( {left} ) {operator} ( {right} )"
        return f"{left} {operator} {right}"

    def statements(self, count, depth):
        return " ".join(self.statement(depth) for _ in range(count))

    def statement(self, depth):
        rng, choice = self.rng, self.rng.random()
        if depth and choice < 0.15:
            condition = self.expression("number", 2)
            text = f"if {condition} {{ {self.statements(rng.randint(0, 2), depth - 1)} }}"
            return f"{text} else {{ {self.statements(rng.randint(0, 2), depth - 1)} }}" if rng.random() < 0.5 else text
        if depth and choice < 0.25:
            lists = [name for name, type in self.types.items() if type == "list"]
            name = rng.choice(lists)
            body = self.statements(rng.randint(0, 1), depth - 1)
            return f"while {name} count > {rng.randint(0, 3)} {{ {name} = {name} rest {body} }}"
        if choice < 0.3:
            return f"return {self.expression(rng.choice(['number', 'list']), 2)}"
        name = rng.choice("abcdef")
        wanted = self.types.get(name) or rng.choice(["number", "list"])
        text = f"{name} = {self.expression(wanted, 3)}"
        self.types[name] = wanted
        return text


def test_against_a_second_evaluator():
    outcomes = {"value": 0, "zero": 0, "unset": 0, "nothing": 0, "limit": 0}
    for index in range(600):
        rng = random.Random(f"programs:{index}")
        text = Writer(rng).statements(rng.randint(1, 5), 2) + rng.choice(["", " return input", " return input sum"])
        argument = [rng.randint(-3, 9) for _ in range(rng.randint(0, 6))]
        code = parse(text)
        try:
            ours = run(code, argument)
        except ProgramError as error:
            message = str(error)
            if error.kind == "limit":
                outcomes["limit"] += 1
                try:
                    reader = slow.evaluate(text, argument)[1]
                except Exception as other:
                    reader = other.reader
                assert reader.largest > LIMITS.magnitude or reader.longest > LIMITS.items or reader.budget < 0, text
                continue
            assert error.kind == "value", text
            expected, name = {
                "div": (ZeroDivisionError, "zero"),
                "not": (slow.NothingReturned, "nothing"),
            }.get(message[:3], (KeyError, "unset"))
            with pytest.raises(expected):
                slow.evaluate(text, argument)
            outcomes[name] += 1
            continue
        theirs, reader = slow.evaluate(text, argument)
        assert ours == (tuple(theirs) if isinstance(theirs, list) else theirs), text
        assert reader.largest <= LIMITS.magnitude and reader.longest <= LIMITS.items
        outcomes["value"] += 1
    assert outcomes["value"] > 250 and min(outcomes.values()) >= 3, outcomes
