"""The standard form of a Pipefile."""

from __future__ import annotations

import pytest

from buildhpc.diagnostics import HpcmakeError
from buildhpc.language import formatter
from buildhpc.language.formatter import format_text
from buildhpc.language.parser import parse
from buildhpc.language.walk import same

UNTIDY = """\
# head
# more
rule all :
\t# inside
\tinput : 'a' ,   "b",
\t\t# mid
\t\t'c"d'


\t# end of rule
# next
let  x=[1,2 ,
\t3]   # trailing
let y = f( a , b= -1 , - 2 )[ 0 ] .z-1


let z = a \\
\t+ b
rule b:

\tparams:
\t\tx = [   # first
\t\t\t1,


\t\t\t# own
\t\t\t2 ]
\t\ty = foo(a,
\t\t\tb = [
\t\t\t1
\t\t\t])
\tlocal
\tshell :   # why

\t\techo a  \t
\t\t\techo tab

\t\tcat <<EOF
\t\t   x
\t\tEOF
\t# after block
on success:
\techo done
prefer a>b>c   \t
where s='[a-z]\\d'
# end"""

TIDY = """\
# head
# more
rule all:
    # inside
    input: "a", "b",
           # mid
           'c"d'

    # end of rule

# next
let x = [1, 2,
         3]  # trailing
let y = f(a, b = -1, -2)[0].z - 1

let z = a \\
    + b

rule b:
    params:
        x = [  # first
            1,

            # own
            2]
        y = foo(a,
                b = [
                    1
                ])
    local
    shell:  # why
        echo a  \t
        \techo tab

        cat <<EOF
           x
        EOF
    # after block

on success:
    echo done

prefer a > b > c
where s = '[a-z]\\d'
# end
"""


def test_an_untidy_file_gets_the_standard_form() -> None:
    assert format_text("Pipefile", UNTIDY) == TIDY


def test_the_standard_form_stays_as_it_is() -> None:
    assert format_text("Pipefile", TIDY) == TIDY


def test_windows_lines_and_a_byte_order_mark_go() -> None:
    data = b"\xef\xbb\xbf" + UNTIDY.replace("\n", "\r\n").encode()
    assert format_text("Pipefile", data) == TIDY


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("", ""),
        ("\n\n  \n", ""),
        ("  # only a comment", "# only a comment\n"),
        ("\n\nlet a=1", "let a = 1\n"),
        ("let a=1\n\n\n\nlet b=2\nlet c=3", "let a = 1\n\nlet b = 2\nlet c = 3\n"),
        # Strings
        ("let a='b'", 'let a = "b"\n'),
        ("let a='\"'", "let a = '\"'\n"),
        ("let a='\\d'", "let a = '\\d'\n"),
        ('let a="it\'s"', 'let a = "it\'s"\n'),
        ("let a='{b}  #c'#d", 'let a = "{b}  #c"  #d\n'),
        # Values
        ("let a=b+c*-d//e%f-(-g)", "let a = b + c * -d // e % f - (-g)\n"),
        ("let a=- -b", "let a = --b\n"),
        ("let a=2 - 12:00:00", "let a = 2 - 12:00:00\n"),
        ("let a=1 .b", "let a = 1 .b\n"),
        ("let a=not  b  not  in(c)", "let a = not b not in (c)\n"),
        ("let a=b if c==d else e", "let a = b if c == d else e\n"),
        ("let a=[ ]", "let a = []\n"),
        ("let a=f ( )", "let a = f()\n"),
        ("let a=f(b = c,)", "let a = f(b = c,)\n"),
        ("let a=b [0] (1) . c", "let a = b[0](1).c\n"),
        ("let a=[b for c,d in[e] after f if(g)]", "let a = [b for c, d in [e] after f if (g)]\n"),
        # Line breaks
        ("let a=b\\\n\\\n+c", "let a = b \\\n    + c\n"),
        ("let a=b\\\n", "let a = b\n"),
        ("let a=b\\\n  # c\nlet d=1", "let a = b\n# c\nlet d = 1\n"),
        ("let a=(b\\\n+c)", "let a = (b\n         + c)\n"),
        ("let a=[\nb,\n\n\nc # d\n,\n]", "let a = [\n    b,\n\n    c  # d\n    ,\n]\n"),
        ("let a=f([\n1\n])", "let a = f([\n    1\n])\n"),
        ("let a=f(b,[\n1\n])", "let a = f(b, [\n    1\n])\n"),
        ("rule a:\n  mem:1G\\\n*2", "rule a:\n    mem: 1G \\\n         * 2\n"),
        (
            "rule a:\n  input:'b',\n  'c',#d\n    'e'",
            'rule a:\n    input: "b",\n           "c",  #d\n           "e"\n',
        ),
        (
            "rule a:\n  input:\n   'b',\n   'c',\n",
            'rule a:\n    input:\n        "b",\n        "c",\n',
        ),
        (
            "rule a:\n  input:\n   'b',\n     'c'",
            'rule a:\n    input:\n        "b",\n            "c"\n',
        ),
        ("rule a:\n  input:\\\n 'b'", 'rule a:\n    input: \\\n           "b"\n'),
        ("rule a:\n input:[\n'b',\n 'c']", 'rule a:\n    input: [\n        "b",\n        "c"]\n'),
        # Blank lines
        ("let a=1\nrule b:\n  local\nlet c=1", "let a = 1\n\nrule b:\n    local\n\nlet c = 1\n"),
        ("rule a:\n\n  mem:1G\n\n\n  local\n\n", "rule a:\n    mem: 1G\n\n    local\n"),
        (
            "rule a:\n  local\n# b\n\n# c\nrule d:\n  local\n",
            "rule a:\n    local\n\n# b\n\n# c\nrule d:\n    local\n",
        ),
        ("let a=1\n# b\n# c\nrule d:\n  local", "let a = 1\n\n# b\n# c\nrule d:\n    local\n"),
        ("# a\nrule b:\n  local", "# a\nrule b:\n    local\n"),
        ("# a\n\nrule b:\n  local", "# a\n\nrule b:\n    local\n"),
        ("on start:\n  a\non failure:\n  b", "on start:\n    a\n\non failure:\n    b\n"),
        # Comments keep to the part they are indented like
        (
            "rule a:\n# b\n  input: # c\n # d\n    'e'\n    # f\n  # g\n  local\n",
            'rule a:\n    # b\n    input:  # c\n        # d\n        "e"\n        # f\n    # g\n'
            "    local\n",
        ),
        (
            "rule a:\n  input:\n    'b'\n    # c\n  # d\n# e\n  # f\n",
            'rule a:\n    input:\n        "b"\n        # c\n    # d\n\n# e\n    # f\n',
        ),
        # Blocks
        (
            "rule a:\r\n shell:\r\n  b\r\r\n\n  c\r",
            "rule a:\n    shell:\n        b\n\n        c\n",
        ),
        (
            "rule a:\n shell: # b\n\n  c\n\n    d\n \n\n local",
            "rule a:\n    shell:  # b\n        c\n\n          d\n\n    local\n",
        ),
        (
            "rule a:\n      shell:\n          b\n        \n             \n          c",
            "rule a:\n    shell:\n        b\n\n           \n        c\n",
        ),
        (
            "rule a:\n\tpython:\n\t\tif b:\n\t\t\tc\n",
            "rule a:\n    python:\n        if b:\n        \tc\n",
        ),
        ("rule a:\n  shell:'b \"c\"'", "rule a:\n    shell: 'b \"c\"'\n"),
    ],
)
def test_a_part_gets_its_standard_form(text: str, formatted: str) -> None:
    assert format_text("Pipefile", text) == formatted
    assert format_text("Pipefile", formatted) == formatted
    assert same(parse("Pipefile", text), parse("Pipefile", formatted))


def test_a_file_with_mistakes_is_left_alone() -> None:
    with pytest.raises(HpcmakeError) as error:
        format_text("Pipefile", "let a = \n")
    assert error.value.problems[0].slug == "missing-value"


@pytest.mark.parametrize("bug", ["let a = 2  # b\n", "let a = 1\n", "let a = 1  # c\n"])
def test_a_form_that_would_not_mean_the_same_is_never_given_out(
    bug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formatter, "_assemble", lambda _: bug)
    with pytest.raises(RuntimeError, match="would not mean the same"):
        format_text("Pipefile", "let a=1 # b\n")
