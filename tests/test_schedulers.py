"""Adapters of schedulers: job scripts and commands, and what real answers are taken to mean.

The answers in the tables are those of Slurm 22.05.8, SGE 8.1.9, the Torque commands of Slurm
22.05.8, and OpenPBS 23.06.06. `golden/job-scripts.txt` has the scripts and the command lines.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildhpc.diagnostics import HpcmakeError
from buildhpc.schedulers.exported import submit_script
from buildhpc.schedulers.pbs import PBS
from buildhpc.schedulers.protocol import (
    Abilities,
    Answer,
    Ask,
    Edge,
    Queued,
    Request,
    Scheduler,
    Switches,
    UnreadableError,
    Verdict,
)
from buildhpc.schedulers.registry import scheduler, unsupported
from buildhpc.schedulers.scripts import numbers
from buildhpc.schedulers.sge import SGE
from buildhpc.schedulers.slurm import Slurm

GOLDEN = Path(__file__).parent / "golden" / "job-scripts.txt"

SGE_SITE = {"gpu_attribute": "gpu", "mpi_environment": "mpi", "memory_attribute": "h_vmem,mem_free"}
ADAPTERS: dict[str, Scheduler] = {
    "slurm": scheduler("slurm", Switches()),
    "sge": scheduler("sge", Switches(SGE_SITE)),
    "openpbs": scheduler("pbs", Switches()),
    "torque": scheduler("pbs", Switches({"dialect": "torque"})),
}
FILES = {name: scheduler("file", Switches({"dialect": name})) for name in ADAPTERS}

ODD = '/data/it\'s 50%j, "a:b" #1 $HOME \\é'
ASKS = {
    "plain": Ask(
        name="hpcmake-7.0-map",
        body="exec /usr/bin/python3 runner.py 7 0\n",
        request=Request(cores=4, mem_mib=2000, time_s=90_061, partition="long", account="p1"),
        folder="/home/me/project",
        output="/home/me/project/.hpcmake/run-7/slice-0.out",
        held=True,
    ),
    "array": Ask(
        name="hpcmake-7.1-call",
        body="exec /usr/bin/python3 runner.py 7 $element",
        request=Request(time_s=60),
        folder="/home/me/project",
        output="/home/me/project/out",
        elements=100,
        after=(Edge("12", "ok"), Edge("13", "any"), Edge("14", "ok"), Edge("12", "ok")),
    ),
    "mpi": Ask(
        name="mpi",
        body="true",
        request=Request(2, 8001, 3600, nodes=2, tasks=8, gpus=4, options=("-w", "a b", "it's")),
        folder=ODD,
        output=f"{ODD}/out\n",
    ),
}


def golden() -> str:
    parts = []
    for name, adapter in ADAPTERS.items():
        for title, each in ASKS.items():
            ask = each
            if name == "sge":  # nodes cannot be said there
                ask = replace(ask, request=replace(ask.request, nodes=0))
            if not adapter.abilities.arrays:
                ask = replace(ask, elements=0)
            command = shlex.join(adapter.submit(ask, "job.sh"))
            parts.append(f"=== {name}, {title}\n{adapter.script(ask)}--- submitted by\n{command}\n")
    return "".join(parts)


def test_job_scripts_and_command_lines(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--bless", default=False):
        GOLDEN.write_text(golden(), encoding="utf-8")
    assert golden() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_script_is_run_in_its_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s 50%j, "a:b"\n#1 $HOME \\é'
    folder.mkdir()
    output = folder / "out $x"
    ask = Ask("a", 'echo "$element" "$PWD"', Request(), str(folder), str(output), elements=9)
    script = tmp_path / "job.sh"
    script.write_text(ADAPTERS[name].script(ask))
    index = {"SLURM_ARRAY_TASK_ID": "4", "SGE_TASK_ID": "5", "PBS_ARRAY_INDEX": "4"}
    done = subprocess.run(
        ["bash", script],
        env={"PATH": os.environ["PATH"], **index, "PBS_ARRAYID": "4"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout + (output.read_text() if output.exists() else "") == f"4 {folder}\n"


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_folder_that_is_not_there_is_told_and_nothing_is_run(name: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    ask = Ask("a", "echo ran", Request(), "/not there", str(output))
    script = tmp_path / "job.sh"
    script.write_text(ADAPTERS[name].script(ask))
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr + (output.read_text() if output.exists() else "")
    assert done.returncode == 1
    assert "hpcmake: the working folder /not there cannot be entered on host " in text
    assert "ran" not in text.split()


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_value_brings_in_a_line_of_its_own(name: str) -> None:
    evil = "x\n#SBATCH --uid=0\n#PBS -u root\n#$ -u root\nrm -rf /"
    request = Request(
        cores=1, partition=evil, account=evil, constraint=evil, qos=evil, options=(evil,)
    )
    adapter = ADAPTERS[name]
    ask = Ask("a", "true", request, "/folder", "/folder/out")
    lines = adapter.script(ask).splitlines()
    assert not [line for line in lines if line.startswith("rm ") or "root" in line]
    assert evil in "\0".join(adapter.submit(ask, "job.sh"))


def words(name: str, **changes: object) -> str:
    """All that a scheduler is told of a small job: its directives, then its command line."""
    ask = replace(Ask("a", "true", Request(), "/f", "/f/out"), **changes)  # type: ignore[arg-type]  # any field
    adapter = ADAPTERS[name]
    return f"{adapter.script(ask)}{shlex.join(adapter.submit(ask, 'job.sh'))}"


@pytest.mark.parametrize(
    ("output", "told"), [("/f/50%j", "/f/50%%j"), ("/f/5%j\\x", "/f/5%j\\\\x"), ("/f/x", "/f/x")]
)
def test_slurm_puts_no_id_into_the_path_of_the_output(output: str, told: str) -> None:
    command = ADAPTERS["slurm"].submit(replace(ASKS["plain"], output=output), "job.sh")
    assert f"--output={told}" in command


def test_no_time_is_not_endless_time() -> None:
    assert "--time=0-00:00:01\n" in words("slurm", request=Request(time_s=0))


def test_an_element_waits_for_its_partner() -> None:
    after = (Edge("7", "element"), Edge("8", "element"), Edge("9"))
    assert "--dependency=afterany:9,aftercorr:7:8 " in words("slurm", elements=2, after=after)
    assert " -hold_jid 9 -hold_jid_ad 7,8 " in words("sge", elements=2, after=after)


def test_torque_has_words_of_its_own_for_what_waits_for_an_array() -> None:
    after = (Edge("7[].s", "ok"), Edge("8.s", "ok"), Edge("9[].s"))
    told = words("torque", after=after)
    assert " depend=afterok:8.s,afterokarray:7[].s,afteranyarray:9[].s " in told.replace("'", "")
    assert " depend=afterok:7[].s:8.s,afterany:9[].s " in words("openpbs", after=after).replace(
        "'", ""
    )


def test_torque_is_given_one_list_of_limits() -> None:
    options = ("-l", "nice=1", "-W", "x=y", "-l", "pmem=1gb")
    told = words("torque", request=Request(options=options))
    assert "#PBS -l nodes=1:ppn=1,nice=1,pmem=1gb\n#PBS -W x=y\n" in told
    assert "#PBS -l nice=1 -W x=y -l pmem=1gb\n" in words(
        "openpbs", request=Request(options=options)
    )


def test_pbs_has_no_array_of_one_element() -> None:
    assert " -J " not in words("openpbs", elements=1)
    assert "\nelement=0\n" in words("openpbs", elements=1)
    assert "#PBS -J 0-1\n" in words("openpbs", elements=2)


def test_one_command_asks_for_all_jobs_of_a_user() -> None:
    told = {name: shlex.join(adapter.queue("me")) for name, adapter in ADAPTERS.items()}
    assert told["slurm"] == "squeue -h -r -t all -u me -o 'job|%i|%T|%B|%r|%j'"
    assert told["sge"] == "qstat -xml -u me"
    assert told["openpbs"].endswith(" hpcmake me")
    assert told["torque"] == "qstat -f"


QSELECT = """\
#!/bin/sh
[ "$*" = "-u me" ] || exit 1
printf "$IDS"
"""


@pytest.mark.parametrize(
    ("ids", "told"),
    [("", "no jobs\n"), ("1.s\\n2[].s\\n", "-t -f 1.s 2[].s\n")],
)
def test_of_openpbs_only_ones_own_jobs_are_asked(ids: str, told: str, tmp_path: Path) -> None:
    for name, text in (("qselect", QSELECT), ("qstat", '#!/bin/sh\necho "$*"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "2x.s").touch()
    done = subprocess.run(
        ADAPTERS["openpbs"].queue("me"),
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "IDS": ids},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == told


def test_directives_of_slurm_are_quoted_as_it_reads_them() -> None:
    script = ADAPTERS["slurm"].script(ASKS["mpi"])
    # Tried with `sbatch` and `squeue -o %k`: a backslash is one for itself in any quotes.
    assert '#SBATCH -w "a b" "it\'s"\n' in script
    assert '#SBATCH "--chdir=/data/it\'s 50%j, \\"a:b\\" #1 $HOME \\\\é"\n' in script


@pytest.mark.parametrize(
    ("name", "out", "found"),
    [
        ("slurm", "123\n", "123"),
        ("slurm", "123;beta\n", "123"),
        ("slurm", "welcome to the cluster\n123\n", "123"),
        ("sge", "12\n", "12"),
        ("sge", "12.1-4:1\n", "12"),
        ("openpbs", "12.server\n", "12.server"),
        ("openpbs", "12[].server.site.edu\n", "12[].server.site.edu"),
        ("torque", "12\n", "12"),
    ],
)
def test_an_id_is_found(name: str, out: str, found: str) -> None:
    adapter = ADAPTERS[name]
    assert adapter.scheduler_id(Answer(0, out, "")) == found
    assert adapter.whole(adapter.element_id(found, 3)) == found
    assert adapter.whole(found) == found


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("answer", [Answer(0, "", ""), Answer(0, "hi", ""), Answer(None, "", "")])
def test_what_tells_no_id_is_unreadable(name: str, answer: Answer) -> None:
    with pytest.raises(UnreadableError):
        ADAPTERS[name].scheduler_id(answer)


def test_ids_of_elements() -> None:
    found = {name: adapter.element_id("12[].s", 0) for name, adapter in ADAPTERS.items()}
    assert found["openpbs"] == "12[0].s"
    assert ADAPTERS["openpbs"].element_id("12.s", 0) == "12.s"  # PBS has no array of one element
    assert ADAPTERS["slurm"].element_id("12", 0) == "12_0"
    assert ADAPTERS["sge"].element_id("12", 0) == "12.1"


SBATCH = "sbatch: error: Batch job submission failed: "
LIMITS = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
WRAPPED = "There was an error running the Slurm sbatch command.\nand the output was:\n"
REFUSALS = [
    ("slurm", 1, f"{SBATCH}Invalid partition name specified", "wrong"),
    ("slurm", 1, f"{SBATCH}Requested node configuration is not available", "wrong"),
    ("slurm", 1, f"{SBATCH}Invalid job array specification", "wrong"),
    ("slurm", 255, "sbatch: unrecognized option '--bogus'", "wrong"),
    ("slurm", 1, f"sbatch: error: AssocMaxSubmitJobLimit\n{SBATCH}{LIMITS}", "full"),
    ("slurm", 1, f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{SBATCH}{LIMITS}", "full"),
    ("slurm", 1, f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{SBATCH}{LIMITS}", "wrong"),
    ("slurm", 1, f"{SBATCH}{LIMITS}", "full"),
    ("slurm", 1, f"{SBATCH}Unable to contact slurm controller (connect failure)", "later"),
    ("slurm", 1, f"{SBATCH}Slurm backup controller in standby mode", "later"),
    ("sge", 1, 'Unable to run job: Job was rejected because job requests unknown queue "x"',
     "wrong"),
    ("sge", 14, "Unable to read script file because of error: error opening x", "wrong"),
    ("sge", 25, "Unable to run job: job rejected: only 10 jobs are allowed per user", "full"),
    ("sge", 1, 'unable to send message to qmaster using port 1 on host "x": got send error',
     "later"),
    ("openpbs", 170, "qsub: Unknown queue", "wrong"),
    ("openpbs", 39, "qsub: would exceed complex's per-user limit", "full"),
    ("openpbs", 46, "qsub: Maximum number of jobs already in queue", "full"),
    ("openpbs", 255, "qsub: cannot connect to server pbs (errno=111)", "later"),
    ("torque", 1, f"{WRAPPED}'{SBATCH}Invalid partition name specified\n'", "wrong"),
    ("torque", 1, f"{WRAPPED}'sbatch: error: AssocMaxSubmitJobLimit\n'", "full"),
    ("torque", 1, f"{WRAPPED}'{SBATCH}Unable to contact slurm controller'", "later"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "code", "text", "meant"), REFUSALS)
def test_refusals(name: str, code: int, text: str, meant: str) -> None:
    answer = Answer(code, text, "") if name == "torque" else Answer(code, "", text)
    assert ADAPTERS[name].scheduler_id(answer) is None
    assert ADAPTERS[name].refusal(answer) == meant


@pytest.mark.parametrize(
    ("name", "code", "text", "meant"),
    [
        ("slurm", 1, f"{SBATCH}Socket timed out on send/recv operation", "later"),
        ("slurm", None, "", "later"),
        ("slurm", None, "sbatch: error: Slurm temporarily unable to accept job, "
         "sleeping and retrying", "full"),
        ("sge", 1, "Unable to run job: failed receiving gdi request response for mid=1 (got "
         "syncron message receive timeout error).", "later"),
        ("openpbs", None, "", "later"),
        ("torque", 1, "qsub: End of File", "later"),
    ],
)  # fmt: skip
def test_a_job_that_may_have_been_accepted_is_in_doubt(
    name: str, code: int | None, text: str, meant: str
) -> None:
    answer = Answer(code, "", text)
    with pytest.raises(UnreadableError):
        ADAPTERS[name].scheduler_id(answer)
    assert ADAPTERS[name].refusal(answer) == meant


SQUEUE = """\
job|79_0|COMPLETED|alpha1|None|a
job|79_1|FAILED|alpha1|NonZeroExitCode|a
job|80_1|CANCELLED|n/a|DependencyNeverSatisfied|b
job|83|FAILED|alpha1|JobLaunchFailure|c
job|86|CANCELLED|alpha1|None|d
job|87|OUT_OF_MEMORY|alpha1|OutOfMemory|e|pipe
and a second line
job|90|PENDING|n/a|JobHeldUser|f
job|91|PENDING|n/a|Dependency|g
job|92_[1-2,5%1]|PENDING|n/a|Resources|h
job|93|PENDING|n/a|ReqNodeNotAvail, UnavailableNodes:alpha3|i
job|94|COMPLETING|alpha2|None|j
job|95|FAILED|n/a|BadConstraints|k
job|96|HIBERNATING|alpha2|None|l
"""
OF_SQUEUE = [
    Queued("79_0", "a", "ended", "", "alpha1", Verdict("", "COMPLETED", True)),
    Queued("79_1", "a", "ended", "NonZeroExitCode", "alpha1",
           Verdict("exit", "FAILED (NonZeroExitCode)", True)),
    Queued("80_1", "b", "ended", "DependencyNeverSatisfied", "",
           Verdict("unmet", "CANCELLED (DependencyNeverSatisfied)", False)),
    Queued("83", "c", "ended", "JobLaunchFailure", "alpha1"),
    Queued("86", "d", "ended", "", "alpha1", Verdict("cancelled", "CANCELLED", True)),
    Queued("87", "e|pipe", "ended", "OutOfMemory", "alpha1",
           Verdict("oom", "OUT_OF_MEMORY (OutOfMemory)", True)),
    Queued("90", "f", "held", "JobHeldUser"),
    Queued("91", "g", "held", "Dependency"),
    *(Queued(f"92_{number}", "h", "queued", "Resources") for number in (1, 2, 5)),
    Queued("93", "i", "queued", "ReqNodeNotAvail, UnavailableNodes:alpha3"),
    Queued("94", "j", "running", "", "alpha2"),
    Queued("95", "k", "ended", "BadConstraints", "",
           Verdict("launch", "FAILED (BadConstraints)", False)),
    Queued("96", "l", "unknown", "", "alpha2"),
]  # fmt: skip

QSTAT_XML = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/qstat.xsd">
  <queue_info>
{running}  </queue_info>
  <job_info>
{pending}  </job_info>
</job_info>
"""
JOB_XML = """\
    <job_list state="{kind}">
      <JB_job_number>{number}</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>{name}</JB_name>
      <JB_owner>root</JB_owner>
      <state>{letters}</state>
      <queue_name>{queue}</queue_name>
      <slots>1</slots>
{tasks}    </job_list>
"""


def job_xml(number: int, letters: str, tasks: str = "", queue: str = "") -> str:
    given = f"      <tasks>{tasks}</tasks>\n" if tasks else ""
    kind = "running" if queue else "pending"
    return JOB_XML.format(
        kind=kind, number=number, name="n", letters=letters, queue=queue, tasks=given
    )


QSTAT_SGE = QSTAT_XML.format(
    running=job_xml(6, "r", queue="all.q@node1") + job_xml(41, "dr", "2", queue="all.q@node2"),
    pending=job_xml(1, "Eqw")
    + job_xml(3, "hqw", "1")
    + job_xml(41, "qw", "3,7-11:2")
    + job_xml(42, "Rq")
    + job_xml(43, "S")
    + job_xml(44, "Zz"),
)
EQW = "state Eqw: `qstat -j 1` tells why, `qmod -cj 1` tries again"
OF_QSTAT_SGE = [
    Queued("6", "n", "running", "r", "node1"),
    Queued("41.2", "n", "running", "dr", "node2"),
    Queued("1", "n", "held", "Eqw", "", Verdict("launch", EQW)),
    Queued("3.1", "n", "held", "hqw"),
    *(Queued(f"41.{number}", "n", "queued", "qw") for number in (3, 7, 9, 11)),
    Queued("42", "n", "queued", "Rq"),
    Queued("43", "n", "suspended", "S"),
    Queued("44", "n", "unknown", "Zz"),
]

QSTAT_PBS = """\
Job Id: 12[].server
    Job_Name = a-name-that-is-so-long-that-it-does-not-fit-into-the-line-of-the-lis
\ttting
    job_state = B
    comment = Job Array Began at Sun Nov 22 at 05:00

Job Id: 12[2].server
    Job_Name = a
    job_state = R
    exec_host = node1/0*2+node2/0*2
    Variable_List = PBS_O_HOME=/root,A=b
    job_state = F

Job Id: 13.server
    Job_Name = b
    job_state = H

Job Id: 14.server
    Job_Name = c
    job_state = M
"""
LONG = "a-name-that-is-so-long-that-it-does-not-fit-into-the-line-of-the-listting"
OF_QSTAT_PBS = [
    Queued("12[].server", LONG, "running", "Job Array Began at Sun Nov 22 at 05:00"),
    Queued("12[2].server", "a", "running", "", "node1"),
    Queued("13.server", "b", "held"),
    Queued("14.server", "c", "unknown"),
]

QSTAT_TORQUE = """\
Job Id:\t39
\tJob_Name = pname.x-1
\tJob_Owner = root@localhost
\tjob_state = C
\tqueue = debug
\texec_host = alpha1/2
\tResource_List.walltime = 00:02:00

Job Id:\t40
\tJob_Name = pname.x-1
\tJob_Owner = root@localhost
\tjob_state = Q

"""
OF_QSTAT_TORQUE = [
    Queued("39", "pname.x-1", "ended", "", "alpha1"),
    Queued("40", "pname.x-1", "queued"),
]


@pytest.mark.parametrize(
    ("name", "out", "found"),
    [
        ("slurm", SQUEUE, OF_SQUEUE),
        ("sge", QSTAT_SGE, OF_QSTAT_SGE),
        ("openpbs", QSTAT_PBS, OF_QSTAT_PBS),
        ("torque", QSTAT_TORQUE, OF_QSTAT_TORQUE),
        ("slurm", "", []),
        ("sge", QSTAT_XML.format(running="", pending=""), []),
        ("openpbs", "no jobs\n", []),
        ("torque", "", []),
    ],
)
def test_the_queue(name: str, out: str, found: list[Queued]) -> None:
    assert ADAPTERS[name].in_queue(Answer(0, out, "")) == found


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("slurm", Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller")),
        ("slurm", Answer(None, "job|1|RUNNING|a|None|x\n", "")),
        ("slurm", Answer(0, "the login nodes are down on Monday\n", "")),
        ("slurm", Answer(0, "job|1|RUNN", "")),
        ("sge", Answer(1, "", "error: unable to send message to qmaster")),
        ("sge", Answer(0, "", "")),
        ("sge", Answer(0, "<html/>", "")),
        ("sge", Answer(0, QSTAT_SGE[:400], "")),
        ("openpbs", Answer(255, "", "qstat: cannot connect to server")),
        ("openpbs", Answer(None, QSTAT_PBS, "")),
        ("torque", Answer(2, "", "Problem loading jobs.")),
        ("torque", Answer(0, "Usage: qstat", "")),
    ],
)
def test_a_queue_that_cannot_be_read_is_no_empty_queue(name: str, answer: Answer) -> None:
    with pytest.raises(UnreadableError):
        ADAPTERS[name].in_queue(answer)


SACCT = """\
79_0|COMPLETED|0:0|2026-11-22T05:29:00|alpha1|map.1-2
79_1|FAILED|3:0|2026-11-22T05:29:00|alpha1|map.1-2
80_1|CANCELLED|0:0|2026-11-22T05:29:01|None assigned|map.1-2
83|FAILED|0:9|2026-11-22T05:29:00|alpha1|map.1-2
84|FAILED|0:53|2026-11-22T05:29:00|alpha1|map.1-2
86|CANCELLED by 1000|0:0|2026-11-22T05:29:00|alpha1|map.1-2
87|OUT_OF_MEMORY|0:125|2026-11-22T05:29:00|alpha1|map.1-2
88|TIMEOUT|0:0|2026-11-22T05:29:00|alpha1|map.1-2
89|NODE_FAIL|0:0|2026-11-22T05:29:00|alpha1|map.1-2
90|RUNNING|0:0|2026-11-22T05:29:00|alpha1|map.1-2
13|FAILED|1:0|2026-11-22T05:18:06|None assigned|map.1-2
14_[3-4%2]|PENDING|0:0|Unknown|None assigned|map.1-2
21_[0-1]|CANCELLED by 0|0:0|None|None assigned|map.1-2
22|HIBERNATING|0:0|None|None assigned|map.1-2
"""
OF_SACCT = {
    "79_0": Verdict("", "COMPLETED 0:0", True, 0, "alpha1"),
    "79_1": Verdict("exit", "FAILED 3:0", True, 3, "alpha1"),
    "80_1": Verdict("unmet", "CANCELLED 0:0", False),
    "83": Verdict("signal", "FAILED 0:9", True, None, "alpha1"),
    "84": Verdict("launch", "FAILED 0:53", True, None, "alpha1"),
    "86": Verdict("cancelled", "CANCELLED by 1000 0:0", True, None, "alpha1"),
    "87": Verdict("oom", "OUT_OF_MEMORY 0:125", True, None, "alpha1"),
    "88": Verdict("timeout", "TIMEOUT 0:0", True, None, "alpha1"),
    "89": Verdict("node", "NODE_FAIL 0:0", True, None, "alpha1"),
    "13": Verdict("launch", "FAILED 1:0", False),
    "21_0": Verdict("cancelled", "CANCELLED by 0 0:0", False),
    "21_1": Verdict("cancelled", "CANCELLED by 0 0:0", False),
    "90": Verdict("alive", "RUNNING"),
    "14_3": Verdict("alive", "PENDING"),
    "14_4": Verdict("alive", "PENDING"),
}
OF_SACCT = {id_: replace(verdict, name="map.1-2") for id_, verdict in OF_SACCT.items()}


def qacct(number: int, task: str, failed: str, status: str, start: str = "Sun Nov 22") -> str:
    return (
        "==============================================================\n"
        f"qname        all.q               \nhostname     node1           \njobnumber    {number}"
        f"                  \ntaskid       {task}           \nstart_time   {start}\n"
        f"failed       {failed}\nexit_status  {status}\nru_maxrss    113.037KB\n"
    )


QACCT = (
    qacct(2, "1", "0    ", "0                   ")
    + qacct(2, "2", "0    ", "3")
    + qacct(2, "3", "25  : rescheduling", "99")
    + qacct(2, "3", "100 : assumedly after job", "137                  (Killed)")
    + qacct(2, "4", "28  : changing into working directory", "0", "-/-")
    + qacct(2, "5", "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", "137")
    + qacct(2, "6", "30  : application error returned", "100")
    + qacct(2, "7", "25  : rescheduling", "99")
    + qacct(3, "undefined", "21  : in recognizing job", "0")
)


def sge(failure: str, said: str, code: int | None = None, began: bool = True) -> Verdict:
    return Verdict(failure, said, began, code, "node1", 113.037)


OF_QACCT = {
    "2.1": sge("", "failed 0, exit_status 0", 0),
    "2.2": sge("exit", "failed 0, exit_status 3", 3),
    "2.3": sge("signal", "failed 100 : assumedly after job, exit_status 137 (Killed)"),
    "2.4": sge("launch", "failed 28 : changing into working directory, exit_status 0",
               began=False),
    "2.5": sge("timeout", "failed 37 : qmaster enforced h_rt, h_cpu, or h_vmem limit, "
               "exit_status 137"),
    "2.6": sge("exit", "failed 30 : application error returned, exit_status 100", 100),
    "3": sge("node", "failed 21 : in recognizing job, exit_status 0"),
}  # fmt: skip


def ended(number: int, **values: str) -> str:
    lines = "".join(f"    {key} = {value}\n" for key, value in values.items())
    return f"Job Id: {number}.server\n    Job_Name = a\n{lines}\n"


QSTAT_X = (
    ended(1, job_state="F", exec_host="node1/0", substate="92", Exit_status="0",
          **{"resources_used.mem": "2048kb"})
    + ended(2, job_state="F", exec_host="node1/0", substate="93", Exit_status="3")
    + ended(3, job_state="F", exec_host="node1/0", substate="93", Exit_status="265")
    + ended(4, job_state="F", exec_host="node1/0", substate="93", Exit_status="-29")
    + ended(5, job_state="F", exec_host="node1/0", substate="91", Exit_status="0")
    + ended(6, job_state="F", substate="92", Hold_Types="s")
    + ended(7, job_state="F", exec_host="node1/0", substate="93", Exit_status="-3")
    + ended(8, job_state="R", substate="42")
)  # fmt: skip
OF_QSTAT_X = {
    "1.server": Verdict("", "Exit_status 0, substate 92", True, 0, "node1", 2.0),
    "2.server": Verdict("exit", "Exit_status 3, substate 93", True, 3, "node1"),
    "3.server": Verdict("signal", "Exit_status 265, substate 93", True, None, "node1"),
    "4.server": Verdict("timeout", "Exit_status -29, substate 93", True, None, "node1"),
    "5.server": Verdict("cancelled", "Exit_status 0, substate 91", True, None, "node1"),
    "6.server": Verdict("unmet", "substate 92", False),
    "7.server": Verdict("launch", "Exit_status -3, substate 93", True, None, "node1"),
}
NO_HISTORY = "qstat: PBS is not configured to maintain job history\n"
NO_ACCOUNTS = "Slurm accounting storage is disabled\n"


@pytest.mark.parametrize(
    ("name", "answer", "found"),
    [
        ("slurm", Answer(0, SACCT, ""), OF_SACCT),
        ("slurm", Answer(0, "", ""), {}),
        ("slurm", Answer(1, "", NO_ACCOUNTS), {}),
        ("sge", Answer(0, QACCT, ""), OF_QACCT),
        ("sge", Answer(1, "", "error: job id 777 not found\n"), {}),
        ("sge", Answer(1, "no jobs running since startup\n", "accounting: No such file"), {}),
        ("openpbs", Answer(0, QSTAT_X, ""), OF_QSTAT_X),
        ("openpbs", Answer(153, "", "qstat: Unknown Job Id 9.server\n"), {}),
        ("openpbs", Answer(0, "", NO_HISTORY), {}),
        ("torque", Answer(0, QSTAT_TORQUE, ""), {}),  # failed or not, that is not told
        ("torque", Answer(153, "", ""), {}),
        ("torque", Answer(0, ended(1, job_state="C", exit_status="-11"), ""),
         {"1.server": Verdict("timeout", "Exit_status -11", True)}),
    ],
)  # fmt: skip
def test_verdicts(name: str, answer: Answer, found: dict[str, Verdict]) -> None:
    assert ADAPTERS[name].verdicts(answer) == found


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("slurm", Answer(1, "", "sacct: error: Problem talking to the database")),
        ("slurm", Answer(0, "79_0|COMPL", "")),
        ("slurm", Answer(None, "", "")),
        ("sge", Answer(1, "", "error: no such file: accounting")),
        ("sge", Answer(0, qacct(1, "undefined", "what?", "0"), "")),
        ("sge", Answer(0, QACCT[:100], "")),
        ("openpbs", Answer(255, "", "cannot connect to server")),
    ],
)
def test_accounts_that_cannot_be_read_tell_nothing(name: str, answer: Answer) -> None:
    with pytest.raises(UnreadableError):
        ADAPTERS[name].verdicts(answer)


def test_where_grid_engine_shows_no_accounts_nobody_is_asked() -> None:
    assert scheduler("sge", Switches({"accounting": "none"})).finished(["1"]) == []


def test_where_slurm_keeps_no_accounts_the_queue_has_the_last_word() -> None:
    adapter = scheduler("slurm", Switches({"accounting": "none"}))
    assert adapter.finished(["1"]) == []
    queued = {each.id: each for each in adapter.in_queue(Answer(0, SQUEUE, ""))}
    told = "FAILED (JobLaunchFailure)"
    assert queued["83"].verdict == Verdict("launch", told, True, None, "alpha1")
    assert queued["90"].verdict is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("slurm", [["scontrol", "release", "1", "2"]]),
        ("sge", [["qrls", "1", "2"]]),
        ("openpbs", [["qrls", "1", "2"]]),
    ],
)
def test_releasing(name: str, found: list[list[str]]) -> None:
    assert ADAPTERS[name].release(["1", "2", "1"]) == found


def test_many_ids_go_into_several_commands() -> None:
    ids = [str(number) for number in range(1001)]
    elements = [f"7_{number}" for number in range(1001)]
    slurm = ADAPTERS["slurm"]
    assert [len(words) for words in slurm.cancel(ids)] == [501, 501, 2]
    assert [words[-1].count(",") for words in slurm.finished(ids)] == [499, 499, 0]
    assert [words[-1] for words in slurm.finished(elements)] == ["7"]
    assert ADAPTERS["sge"].finished(["7.1", "7.2", "8"]) == [
        ["qacct", "-j", "7"],
        ["qacct", "-j", "8"],
    ]


def test_the_commands_run_without_variables_that_change_what_they_do() -> None:
    environment = ADAPTERS["slurm"].environment
    assert environment["SLURM_BITSTR_LEN"] == "0"
    for name in ("SQUEUE_PARTITION", "SBATCH_WAIT", "SLURM_CLUSTERS", "SLURM_RESTART_COUNT"):
        assert environment[name] is None
    assert "SLURM_CONF" not in environment


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", [3]),
        ("3-6%2", [3, 4, 5, 6]),
        ("1,3-5,10-20:5", [1, 3, 4, 5, 10, 15, 20]),
        ("0-2,7,...", [0, 1, 2, 7]),
        ("0-2,43...", [0, 1, 2]),
    ],
)
def test_lists_of_elements(text: str, found: list[int]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("time_s", "warn_s", "found"),
    [(3600, 60, True), (600, 60, True), (599, 60, False), (3600, 0, False)],
)
def test_a_warning_is_asked_for_where_there_is_time_for_it(
    time_s: int, warn_s: int, found: bool
) -> None:
    ask = replace(ASKS["plain"], request=Request(time_s=time_s), warn_s=warn_s)
    assert ("--signal=B:USR1@60" in ADAPTERS["slurm"].script(ask)) is found


# The registry.


def test_words_that_a_scheduler_has_nothing_for() -> None:
    request = Request(cores=2, gpus=1, gpu_kind="a100", qos="high", options=("-x",))
    assert unsupported(Abilities(frozenset({"gpus"})), request) == ["gpu_kind", "qos"]
    assert unsupported(ADAPTERS["slurm"].abilities, request) == []
    assert unsupported(Abilities(frozenset()), Request(cores=8)) == []


def test_each_setting_of_a_site_is_on_the_page() -> None:
    page = (Path(__file__).parent.parent / "docs" / "schedulers.md").read_text()
    for name, adapter in (("slurm", Slurm), ("sge", SGE), ("pbs", PBS)):
        _, _, text = page.partition(f"\n## {name}\n")
        rows = re.findall(r"^\|([^|]*)\|", text.partition("\n## ")[0], re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", "".join(rows))) == adapter.switches.keys(), name


def test_what_a_site_names_becomes_possible() -> None:
    bare = scheduler("sge", Switches()).abilities.words
    named = scheduler("sge", Switches({**SGE_SITE, "disk_attribute": "scratch"})).abilities.words
    assert named - bare == {"gpus", "tasks", "disk_mib"}


@pytest.mark.parametrize(
    ("name", "switches", "slug", "says"),
    [
        ("slrum", {}, "unknown-scheduler", "the nearest is `slurm`; schedulers are `slurm`, `pbs`"),
        ("sge", {"gpu_atribute": "x"}, "unknown-setting", "the nearest is `gpu_attribute`"),
        ("pbs", {"dialect": "pro"}, "bad-setting", "it can be `openpbs`, `torque`"),
    ],
)
def test_what_nobody_knows_is_refused(
    name: str, switches: dict[str, str], slug: str, says: str
) -> None:
    with pytest.raises(HpcmakeError) as caught:
        scheduler(name, Switches(switches))
    assert caught.value.problems[0].slug == slug
    assert says in str(caught.value)


DISTRIBUTION = {
    "METADATA": "Metadata-Version: 2.1\nName: sites\nVersion: 1\n",
    "entry_points.txt": "[buildhpc.schedulers]\nlsf = lsf:LSF\nbroken = lsf:Missing\n",
}


@pytest.fixture
def lsf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    """The adapter that the page describes, installed as a package brings it."""
    page = (Path(__file__).parent.parent / "docs" / "adding-a-scheduler.md").read_text()
    blocks = re.findall(r"^```python lsf\.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "lsf.py").write_text(blocks[0])
    (tmp_path / "sites-1.dist-info").mkdir()
    for name, text in DISTRIBUTION.items():
        (tmp_path / "sites-1.dist-info" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lsf", raising=False)
    return scheduler("lsf", Switches({"memory_per": "core"}))


BJOBS = """\
42|1|DONE|-|-|node1|a[1]
42|2|EXIT|3|-|node1|a[2]
42|3|RUN|-|-|node2|a[3]
43|0|PSUSP|-|-|-|b
44|0|EXIT|130|TERM_RUNLIMIT: job killed after reaching LSF run time limit|node1|c
45|0|EXIT|-|TERM_ORPHAN_SYSTEM: orphan job terminated automatically by LSF|-|d
"""


@pytest.mark.usefixtures("lsf")
def test_a_package_that_brings_no_such_class_is_told() -> None:
    with pytest.raises(HpcmakeError, match=r"`broken` could not be loaded from `lsf:Missing`"):
        scheduler("broken", Switches())


def test_the_scheduler_that_the_page_adds(lsf: Scheduler) -> None:
    ask = replace(ASKS["plain"], elements=3, after=(Edge("7", "element"), Edge("8")))
    assert lsf.script(replace(ask, after=())).splitlines()[:11] == [
        "#!/bin/bash",
        "#BSUB -J hpcmake-7.0-map[1-3]",
        "#BSUB -o /dev/null",
        "#BSUB -rn",
        "#BSUB -n 4",
        "#BSUB -R span[hosts=1]",
        "#BSUB -W 25:02",
        "#BSUB -M 500MB",
        "#BSUB -R rusage[mem=500MB]",
        "#BSUB -q long",
        "#BSUB -P p1",
    ]
    edges = 'done("7[*]") && ended("8")'
    assert lsf.submit(ask, "job.sh")[3:] == ["hpcmake", "job.sh", "-H", "-w", edges, "-ti"]
    accepted = Answer(0, "Job <42> is submitted to default queue <normal>.\n", "")
    assert lsf.scheduler_id(accepted) == "42"
    assert lsf.refusal(Answer(255, "", "User's pending job limit is reached")) == "full"


def test_what_the_added_scheduler_answers(lsf: Scheduler) -> None:
    queued = lsf.in_queue(Answer(0, BJOBS, ""))
    ids = [lsf.element_id("42", number) for number in range(3)]
    assert [each.id for each in queued] == [*ids, "43", "44", "45"]
    assert [each.state for each in queued] == ["ended", "ended", "running", "held", *["ended"] * 2]
    verdicts = lsf.verdicts(Answer(0, BJOBS, ""))
    failures = {job: verdict.failure for job, verdict in verdicts.items()}
    assert failures == {ids[0]: "", ids[1]: "exit", "44": "timeout", "45": "unmet"}
    assert lsf.in_queue(Answer(255, "", "No unfinished job found\n")) == []
    with pytest.raises(UnreadableError):
        lsf.in_queue(Answer(255, "", "LSF is down. Please wait ...\n"))


# Scripts that people submit.


def exported(adapter: Scheduler) -> str:
    one = replace(ASKS["array"], name="one", after=(), elements=3)
    two = replace(one, name="two", after=(Edge("one", "any"),), elements=0)
    return submit_script(adapter, [(one, "a 1.sh"), (two, "b.sh"), (replace(two, name="c"), "c")])


FAKE = """\
#!/bin/bash
printf '%s\\n' "${0##*/} $*" >>"$SEEN"
case "${0##*/}" in sbatch | qsub) ;; *) exit 0 ;; esac
number=$(wc -l <"$SEEN")
if [[ $number == "$REFUSED" ]]; then echo 'it is wrong' >&2; exit 1; fi
case "$DIALECT,$*" in
slurm,*) echo "$number;alpha" ;;
sge,*one* | sge,*a\\ 1*) echo "$number.1-3:1" ;;
sge,*) echo "$number" ;;
openpbs,*a\\ 1*) echo "$number[].server" ;;
*) echo "$number.server" ;;
esac
"""


def run_exported(dialect: str, tmp_path: Path, refused: int = 0) -> tuple[int, Sequence[str]]:
    for program in ("sbatch", "scontrol", "scancel", "qsub", "qrls", "qdel"):
        (tmp_path / program).write_text(FAKE)
        (tmp_path / program).chmod(0o755)
    (tmp_path / "my export").mkdir()
    script = tmp_path / "my export" / "submit"
    script.write_text(exported(FILES[dialect]))
    seen = tmp_path / "seen"
    seen.touch()
    more = {"SEEN": str(seen), "DIALECT": dialect, "REFUSED": str(refused)}
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script], cwd="/", env={"PATH": path, **more}, capture_output=True, check=False
    )
    return done.returncode, seen.read_text().splitlines()


WAIT = "--dependency=afterany:1 --kill-on-invalid-dep=yes"
EXPORTED = {
    "slurm": [
        "sbatch --parsable --hold ./a 1.sh",
        f"sbatch --parsable {WAIT} ./b.sh",
        f"sbatch --parsable {WAIT} ./c",
        "scontrol release 1",
    ],
    "sge": [
        "qsub -terse -h ./a 1.sh",
        "qsub -terse -hold_jid 1 ./b.sh",
        "qsub -terse -hold_jid 1 ./c",
        "qrls 1",
    ],
    "openpbs": [
        "qsub -j oe -o /dev/null -h ./a 1.sh",
        "qsub -j oe -o /dev/null -W depend=afterany:1[].server ./b.sh",
        "qsub -j oe -o /dev/null -W depend=afterany:1[].server ./c",
        "qrls 1[].server",
    ],
    "torque": [
        "qsub -j oe -o /dev/null -h ./a 1.sh",
        "qsub -j oe -o /dev/null -W depend=afterany:1.server ./b.sh",
        "qsub -j oe -o /dev/null -W depend=afterany:1.server ./c",
        "qrls 1.server",
    ],
}


@pytest.mark.parametrize("dialect", EXPORTED)
def test_an_export_submits_in_order_and_releases_last(dialect: str, tmp_path: Path) -> None:
    assert run_exported(dialect, tmp_path) == (0, EXPORTED[dialect])


def test_an_export_of_which_a_part_is_refused_cancels_the_rest(tmp_path: Path) -> None:
    code, seen = run_exported("slurm", tmp_path, refused=3)
    assert (code, seen) == (1, [*EXPORTED["slurm"][:3], "scancel 1 2"])


def test_who_edits_an_exported_script_means_what_it_says() -> None:
    adapter, ask = scheduler("file", Switches({"dialect": "slurm"})), ASKS["plain"]
    assert "#SBATCH --time=1-01:01:01\n" in adapter.script(ask)
    assert adapter.submit(ask, "job.sh") == ["sbatch", "--parsable", "--hold", "job.sh"]
