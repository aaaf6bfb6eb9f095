"""A game file that plays by other rules is refused by name."""

import importlib.util

import pytest

from repro.environments.alfworld import package
from repro.environments.alfworld.rules import check_rules
from repro.errors import ReproError

installed = pytest.mark.skipif(not importlib.util.find_spec("alfworld"), reason="needs the extra `alfworld`")
DOMAIN = "(define (domain alfred) (:action look :parameters (?a - agent) :effect (checked ?a)))"
GRAMMAR = 'grammar :: """{"intro": [{"rhs": "Hello"}]}""";'


def test_files_without_rules_pass():
    check_rules("; none", '"rhs": "Your task is to: rest."', "file")


def test_other_rules_are_named():
    with pytest.raises(ReproError, match="file: .*action look.*text intro") as caught:
        check_rules(DOMAIN, GRAMMAR, "file")
    assert "action putobject" in str(caught.value)  # missing ones too


def test_a_broken_grammar_is_refused():
    with pytest.raises(ReproError, match="file: the grammar inside this game file is malformed"):
        check_rules(DOMAIN, 'grammar :: """{"intro": [}""";', "file")


@installed
def test_the_packages_rules_pass_whatever_the_task_layout_and_comments():
    domain, grammar = package.domain_text(), package.grammar_text()
    check_rules(domain, grammar.replace("UNKNOWN GOAL", "put a mug in shelf"), "file")
    check_rules(domain.replace("\n", "\n  ; a remark\n"), grammar, "file")


@installed
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("?l - location, ?r", "?l - location ?r", "are action examineobject."),
        ("You move the {o.name} to", "You put the {o.name} in/on", "are text PutObject.feedback."),
        ("move {o} to {r}", "put {o} in/on {r}", "are text PutObject command."),
        (", and ", " and ", "are text list_last_separator."),
    ],
)
def test_a_changed_rule_is_named(old, new, named):
    domain, grammar = package.domain_text(), package.grammar_text()
    assert old in domain + grammar
    with pytest.raises(ReproError, match=named):
        check_rules(domain.replace(old, new), grammar.replace(old, new), "file")
