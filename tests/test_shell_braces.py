"""Names in braces in shell blocks: filled in exactly, whatever quotes they stand in.

Every block is run by a real bash, and what reaches the program is compared.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from conftest import Pipe
from hypothesis import given, settings
from hypothesis import strategies as st

from buildhpc.diagnostics import HpcmakeError, Source, Span
from buildhpc.language.shell import Slot, slots_of
from buildhpc.language.values import Fields, Files
from buildhpc.plan.recipe import fill


def filled(block: str, **values: Any) -> str:
    source = Source("block", block)
    parts = slots_of(block, lambda start, end: Span(source, start, end))
    return fill(parts, values, {})


def run(block: str, **values: Any) -> str:
    text = filled(block, **values)
    words = ["bash", "--norc", "-euo", "pipefail", "-s"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), text
    return done.stdout


VALUES = {
    "plain": "a.txt",
    "blanks": "two  words ",
    "empty": "",
    "single quote": "it's",
    "double quote": 'say "hi"',
    "both quotes": "'\"'\"",
    "dollar": "$HOME ${x} $(id) $1",
    "backtick": "`id`",
    "backslash": "a\\b\\\\c\\",
    "backslashed": "\\n\\t\\'\\\"\\$\\`",
    "newline": "one\ntwo",
    "newlines": "one\n\nthree",
    "glob": "*? [a-z] ~ {a,b}",
    "words of bash": "; rm -rf x & | > < ( ) # !",
    "option": "-n",
    "braces": "{x} {{x}} {input}",
    "letters": "é 漢 \U0001f600",
    "tab": "a\tb",
}

# Blocks that print the value between brackets, by the place it stands in.
PLACES = {
    "plain": "printf '[%s]' {x}",
    "double": "printf '[%s]' \"{x}\"",
    "single": "printf '[%s]' '{x}'",
    "ansi": "printf '[%s]' $'{x}'",
    "a word around": "printf '[%s]' \"\"{x}''",
    "assignment": "y={x}; printf '[%s]' \"$y\"",
    "double assignment": 'y="{x}"; printf \'[%s]\' "$y"',
    "substitution": "printf '[%s]' \"$(printf '%s.' {x})\" | sed '$s/\\.]$/]/'",
    "double in a substitution in double": 'y="$(printf \'%s.\' "{x}")"; printf \'[%s]\' "${y%.}"',
    "single in a substitution": "y=$(printf '%s.' '{x}'); printf '[%s]' \"${y%.}\"",
    "function": "f() { printf '[%s]' \"$1\"; }\nf {x}",
    "here-string": "y=$(cat <<< {x}; echo .); printf '[%s]' \"${y%??}\"",
    "array": "y=(a {x}); printf '[%s]' \"${y[1]}\"",
    "test": "[[ {x}z == \"{x}z\" ]] && printf '[%s]' {x}",
    "after a comment": "true # it's a {x} \"\nprintf '[%s]' {x}",
    "after an escape": "printf '[%s]' \\\n  {x}; : \\' \\\"",
    "after an expansion": "y=1; : ${y:-'}'} ${y/\\}/\\\"} ${y:-${y:-{}}}\nprintf '[%s]' {x}",
    "backticks": "y=`printf '%s.' {x}`; printf '[%s]' \"${y%.}\"",
    "single in backticks": "y=`printf '%s.' '{x}'`; printf '[%s]' \"${y%.}\"",
    "double in backticks": "y=`printf '%s.' \"{x}\"`; printf '[%s]' \"${y%.}\"",
    "case in a substitution": "y=\"$(case a in a) printf '%s.' {x};; esac)\"\n"
    "printf '[%s]' \"${y%.}\"",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_out_exactly(place: str, value: str) -> None:
    assert run(PLACES[place], x=VALUES[value]) == f"[{VALUES[value]}]"


HERE_DOCUMENTS = {
    "plain": "cat <<EOF\n[{x}]\nEOF\n",
    "tabs": "cat <<-EOF\n\t[{x}]\n\tEOF\n",
    "two": "cat /dev/fd/3 - 3<<A <<B\n[A\nB\n{x}]\nB\n",
    "in a substitution": 'echo "$(cat <<EOF\n[{x}]\nEOF\n)"\n',
    "a substitution in it": "cat <<EOF\n[$(printf '%s' {x})]\nEOF\n",
    "double in a substitution in it": "cat <<EOF\n[$(printf '%s' \"{x}\")]\nEOF\n",
}


@pytest.mark.parametrize("place", HERE_DOCUMENTS)
@pytest.mark.parametrize("value", [name for name in VALUES if "newline" not in name])
def test_a_value_comes_out_exactly_in_a_here_document(place: str, value: str) -> None:
    if place == "two":
        expected = f"[A\nB\n{VALUES[value]}]\n"
        block = "cat <<A; cat <<'B'\n[A\nB\nA\n{x:raw}]\nB\n"
        assert run(block, x=VALUES[value]) == expected
        return
    assert run(HERE_DOCUMENTS[place], x=VALUES[value]) == f"[{VALUES[value]}]\n"


def test_a_quoted_here_document_takes_the_text_as_it_is() -> None:
    value = "$HOME `id` \\ ' \""
    assert run("cat <<'EOF'\n{x}\nEOF\n", x=value) == f"{value}\n"


@given(st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_text_comes_out_exactly_in_all_quotes(value: str) -> None:
    block = "printf '[%s]' {x} \"{x}\" '{x}' $'{x}' \"$(printf '%s.' {x})\""
    assert run(block, x=value) == f"[{value}]" * 4 + f"[{value}.]"


LISTS = {
    "printf '[%s]' {x}": "[a b][c]",
    "printf '[%s]' \"{x}\"": "[a b c]",
    "printf '[%s]' {x[0]}": "[a b]",
    "printf '[%s]' {x[-1]}": "[c]",
    "for i in {x}; do printf '[%s]' \"$i\"; done": "[a b][c]",
    "printf '[%s]' {x:raw}": "[a][b][c]",
    "printf '[%s]' {x.first}": "[a b]",
}


@pytest.mark.parametrize("block", LISTS)
def test_a_list_is_joined_with_each_item_quoted(block: str) -> None:
    files = Files("input", ["a b", "c"], {"first": "a b"})
    assert run(block, x=files) == LISTS[block]


def test_none_is_no_word_and_an_empty_text_is_one() -> None:
    assert run("set -- {x} {y}; echo $#", x=None, y="") == "1\n"


def test_numbers_and_truth_are_words() -> None:
    assert run("echo {a} {b} {c}", a=3, b=0.5, c=True) == "3 0.5 true\n"


# Blocks whose braces are not ours -> the same text after filling.
LEFT_ALONE = [
    "awk '{print $1}'",
    "awk '{ sum += $1 } END { print sum }'",
    "echo {a,b} {1..9} {}",
    "find . -exec rm {} \\;",
    "echo ${x} ${x:-{x}} ${x[0]} ${#x} ${!x} ${x:-'{x}'} ${x:-$(echo \"{x}\")}",
    "cat <<EOF\n${x} ${y:-{x}}\nEOF\n",
    'echo "${x}" "${x:-"{x}"}"',
    'echo \'{"x": 1, "y": {"z": [2]}}\'',
    "jq '{x: .x}'",
    "# {x} in a comment, it's",
    "true # {x}",
    "f() { echo; }",
    "echo {x:.2f} {x!r} {x y}",
    "python -c 'print({1: 2}, {1}, {*y})'",
    "echo {{ }} {{1}} {{a b}}",
]


@pytest.mark.parametrize("block", LEFT_ALONE)
def test_braces_that_hold_no_name_are_left_alone(block: str) -> None:
    assert filled(block, x="VALUE") == block


# Blocks -> what is left after filling x = VALUE.
FILLED = {
    "echo {{x}} {x}": "echo {x} VALUE",
    "echo '{{print}}'": "echo '{print}'",
    "awk '{{print}} {{x}}'": "awk '{print} {x}'",
    "echo {{{x}}}": "echo {{VALUE}}",
    "echo a#{x}": "echo a#VALUE",
    "echo $#{x}": "echo $#VALUE",
    "echo $'a' {x}": "echo $'a' VALUE",
    "echo \\{x}": "echo \\VALUE",
    "echo $((1 << 2)) {x}\nEOF": "echo $((1 << 2)) VALUE\nEOF",
    "(( y = 1 << {x} ))": "(( y = 1 << VALUE ))",
    "cat <<< {x}\ny": "cat <<< VALUE\ny",
}


@pytest.mark.parametrize("block", FILLED)
def test_what_is_filled_is_filled_once(block: str) -> None:
    assert filled(block, x="VALUE") == FILLED[block]


def test_filled_text_is_not_looked_at_again() -> None:
    assert filled("{x} {y}", x="{y}", y="{{x}}") == "'{y}' '{{x}}'"


def test_parts_of_values() -> None:
    row = Fields("row", {"id": "s 1", "lanes": ["a", "b c"]})
    assert filled("{r.id} {r.lanes} {r.lanes[1]} {r['id']}", r=row) == "'s 1' a 'b c' 'b c' 's 1'"


def test_a_set_of_values_is_no_word() -> None:
    with pytest.raises(HpcmakeError, match="cannot stand in a text"):
        filled("echo {r}", r=Fields("row", {"id": 1}))


def test_a_slot_knows_its_place() -> None:
    block = "echo {x}\n  b '{y}'"
    source = Source("Pipefile", block)
    slots = [p for p in slots_of(block, lambda s, e: Span(source, s, e)) if isinstance(p, Slot)]
    assert [(slot.field.span.place, slot.field.written) for slot in slots] == [
        ("Pipefile:1:6", "{x}"),
        ("Pipefile:2:6", "{y}"),
    ]


PIPEFILE = """\
rule all:
    input: "a b.out"

rule make:
    output: "{name}.out"
    input: first = "{name}.in", rest = ["x.in", "y.in"]
    params:
        text = "it's {name}"
        list = ["p q", "r"]
    cores: 2
    mem: 1536M
    time: 1h30m
    shell:
        printf '%s|' {input} > {output}
        printf '%s|' {input.first} "{input.rest}" {input[2]} >> {output}
        printf '%s|' '{params.text}' {params.list} >> {output}
        printf '%s|' {name} {wildcards.name} {cores} {mem.mb} {mem.gb} >> {output}
        printf '%s|' {time.minutes} {time.hms} >> {output}
        wc -l < {input:file} >> {output}
"""


def test_a_rule_says_all_of_this_in_a_build(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    for path in ("a b.in", "x.in", "y.in"):
        pipe.write(path)
    pipe.check("-q -j 2")
    assert pipe.read("a b.out") == (
        "a b.in|x.in|y.in|a b.in|x.in y.in|y.in|it's a b|p q|r|a b|a b|2|1536|2|90|1:30:00|3\n"
    )
