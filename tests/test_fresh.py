"""What is called fresh, and what never is: the second and third build, which take short ways."""

from __future__ import annotations

import pytest
from conftest import Pipe

NOTHING = "nothing to do: "


def test_a_recipe_without_outputs_runs_whenever_it_is_asked_for(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule test:\n    shell: "echo ran >> log"\n')
    for count in (1, 2, 3):
        pipe.check("-q test")
        assert pipe.read("log") == "ran\n" * count


@pytest.mark.parametrize("targets", ["c a", "a c", "a a", "a ./a", "c c", "all a", "a all"])
def test_what_is_named_twice_is_made_once(pipe: Pipe, targets: str) -> None:
    pipe.write(
        "Pipefile",
        'rule all:\n    input: "c"\n\n'
        'rule c:\n    output: "c"\n    input: "a"\n    shell: "cp a c"\n\n'
        'rule a:\n    output: "a"\n    shell: "echo made >> log; touch a"\n',
    )
    pipe.check(f"-q {targets}")
    assert pipe.read("log") == "made\n"


FOLDER = """\
rule f:
    output: "f"
    input: "d/a"
    shell: "cat d/a > f"

rule dir:
    output: directory("d")
    shell: "mkdir d; echo 1 > d/a; echo 2 > d/b"
"""


def test_a_file_gone_from_a_folder_is_made_again(pipe: Pipe) -> None:
    pipe.write("Pipefile", FOLDER)
    pipe.check("-q f")
    for target in ("f", "d/a"):
        pipe.path("d/a").unlink()
        pipe.check(f"-q {target}")
        assert pipe.read("d/a") == "1\n"


def test_a_file_that_a_folder_never_gets_is_an_error_every_time(pipe: Pipe) -> None:
    pipe.write("Pipefile", FOLDER)
    for _ in range(2):
        result = pipe.check("-q d/nope", code=1)
        assert "error[not-inside]: `dir` is done, and `d/nope` is not there" in result.err


def test_no_job_writes_into_the_folder_of_another(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule all:\n    input: "d/f", "d/z"\n\n'
        'rule a:\n    output: directory("d")\n    shell: "mkdir d; touch d/z"\n\n'
        'rule b:\n    output: "d/f"\n    shell: "touch d/f"\n',
    )
    assert "error[two-makers]: two jobs would write `d/f`" in pipe.check("-n", code=2).err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'within: "env Q=1"\n    shell: "echo $Q > a"',
            'within: "env Q=2"\n    shell: "echo $Q > a"',
        ),
        ('env: Q = "1"\n    shell: "echo $Q > a"', 'env: Q = "2"\n    shell: "echo $Q > a"'),
    ],
)
def test_what_the_recipe_runs_in_is_part_of_it(pipe: Pipe, before: str, after: str) -> None:
    pipe.write("Pipefile", f'rule a:\n    output: "a"\n    {before}\n')
    pipe.check("-q")
    assert pipe.check("").out.startswith(NOTHING)
    pipe.write("Pipefile", f'rule a:\n    output: "a"\n    {after}\n')
    pipe.check("-q")
    assert pipe.read("a") == "2\n"


def test_python_that_reads_config_hangs_on_it(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'config "c.yaml"\n\nrule a:\n    output: "a"\n    python:\n'
        '        open("a", "w").write(str(config.n))\n\n'
        'rule b:\n    output: "b"\n    script: "b.py"\n',
    )
    pipe.write("b.py", "open('b', 'w').write(str(job.config.n))\n")
    for number in ("1", "2"):
        pipe.write("c.yaml", f"n: {number}\n")
        pipe.check("-q a b")
        assert pipe.read("a") + pipe.read("b") == number * 2


def test_the_short_way_and_the_long_way_plan_alike(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule all:\n    input: "{n}.c" for n in range(4)\n\n'
        'rule b:\n    output: temp("{n}.b")\n    input: "{n}.a"\n'
        '    shell: "cp {input} {output}"\n\n'
        'rule c:\n    output: "{n}.c"\n    input: "{n}.b"\n    shell: "cp {input} {output}"\n',
    )
    for number in range(4):
        pipe.write(f"{number}.a", str(number))
    pipe.check("-q")
    for change in ("touch", "gone", "edited"):
        if change == "touch":
            pipe.write("1.a", "new")
        elif change == "gone":
            pipe.path("2.c").unlink()
        else:
            pipe.write("3.c", "by hand")
        short = pipe.check("-n -v").out
        for file in pipe.path(".hpcmake/cache").glob("fresh-*"):
            file.unlink()
        assert pipe.check("-n -v").out == short
        pipe.check("-q")
        pipe.check("-q")
