"""`hpcmake fmt`: files in place, or what would change."""

from __future__ import annotations

from conftest import Pipe

ROUGH = "rule a:\n  output:   'x.txt'\n  shell:\n      touch {output}   # as it is\n"
SMOOTH = 'rule a:\n    output: "x.txt"\n    shell:\n        touch {output}   # as it is\n'
BAD = 'rule a\n    output: "x"\n'


def test_the_pipefile_and_its_includes_are_formatted_in_place(pipe: Pipe) -> None:
    pipe.write("Pipefile", "include   'sub/b.pipe'\ninclude 'c.pipe'\n")
    pipe.write("sub/b.pipe", "include '../c.pipe'\n" + ROUGH)
    pipe.write("c.pipe", "let x = 1\n")
    pipe.check("fmt", says="formatted: Pipefile\nformatted: sub/b.pipe\n")
    assert pipe.read("Pipefile") == 'include "sub/b.pipe"\ninclude "c.pipe"\n'
    assert pipe.read("sub/b.pipe") == 'include "../c.pipe"\n\n' + SMOOTH
    pipe.check("fmt", says="")
    assert pipe.files() == ["Pipefile", "c.pipe", "sub/b.pipe"]


def test_check_says_what_would_change_and_changes_nothing(pipe: Pipe) -> None:
    pipe.write("Pipefile", ROUGH)
    pipe.check("fmt --check", says="would change: Pipefile\n", code=1)
    assert pipe.read("Pipefile") == ROUGH
    pipe.check("fmt")
    pipe.check("fmt --check", says="")
    assert not pipe.exists(".hpcmake")


def test_diff_shows_what_would_change(pipe: Pipe) -> None:
    pipe.write("Pipefile", "let  x = 1\nlet y = 2")
    pipe.check(
        "fmt --diff",
        says="--- Pipefile\n+++ Pipefile (formatted)\n@@ -1,2 +1,2 @@\n"
        "-let  x = 1\n-let y = 2\n\\ No newline at end of file\n+let x = 1\n+let y = 2\n",
    )
    assert pipe.read("Pipefile") == "let  x = 1\nlet y = 2"


def test_a_file_with_errors_is_left_alone_and_the_others_are_not(pipe: Pipe) -> None:
    pipe.write("Pipefile", "include 'a.pipe'\ninclude 'b.pipe'\n")
    pipe.write("a.pipe", BAD)
    pipe.write("b.pipe", ROUGH)
    result = pipe.check("fmt", says="formatted: Pipefile\nformatted: b.pipe\n", code=2)
    assert result.err.startswith("error[")
    assert " --> a.pipe:1:" in result.err
    assert pipe.read("a.pipe") == BAD


def test_standard_input_goes_to_standard_output(pipe: Pipe) -> None:
    result = pipe.run("fmt", "-", stdin=ROUGH)
    assert (result.code, result.out, result.err) == (0, SMOOTH, "")
    assert pipe.run("fmt", "-", "--check", stdin=ROUGH).code == 1
    assert pipe.run("fmt", "-", "--check", stdin=SMOOTH).code == 0
    result = pipe.run("fmt", "-", stdin=BAD)
    assert (result.code, result.out) == (2, "")
    assert " --> standard input:1:" in result.err


def test_named_files_are_formatted_alone(pipe: Pipe) -> None:
    pipe.write("a.pipe", ROUGH)
    pipe.write("b.pipe", ROUGH)
    pipe.check("fmt ./a.pipe", says="formatted: a.pipe\n")
    assert pipe.read("b.pipe") == ROUGH


def test_mode_and_link_are_kept(pipe: Pipe) -> None:
    pipe.write("real/Pipefile", ROUGH).chmod(0o640)
    pipe.path("Pipefile").symlink_to("real/Pipefile")
    pipe.check("fmt", says="formatted: Pipefile\n")
    assert pipe.path("Pipefile").is_symlink()
    assert pipe.read("real/Pipefile") == SMOOTH
    assert pipe.path("real/Pipefile").stat().st_mode & 0o777 == 0o640
    assert [p.name for p in pipe.path("real").iterdir()] == ["Pipefile"]


def test_windows_line_ends_and_a_mark_become_plain(pipe: Pipe) -> None:
    pipe.path("Pipefile").write_bytes(b"\xef\xbb\xbf" + SMOOTH.replace("\n", "\r\n").encode())
    pipe.check("fmt", says="formatted: Pipefile\n")
    assert pipe.path("Pipefile").read_bytes() == SMOOTH.encode()


def test_an_include_named_by_a_value_is_told_of(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'let n = "a"\ninclude "{n}.pipe"\n')
    pipe.write("a.pipe", ROUGH)
    result = pipe.check("fmt", says="")
    assert result.err == (
        'warning[not-formatted]: which file "{n}.pipe" means, `fmt` does not ask\n'
        " --> Pipefile:2:9\n"
        "  |\n"
        '2 | include "{n}.pipe"\n'
        "  |         ^^^^^^^^^^\n"
        "  = help: name the file: `hpcmake fmt FILE`\n"
    )
