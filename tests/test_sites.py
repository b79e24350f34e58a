"""What `hpcmake.toml` and `--cluster-option` say of clusters."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from buildhpc.diagnostics import HpcmakeError
from buildhpc.schedulers.protocol import Request, Switches
from buildhpc.sites import Cluster, Partition, read_sites
from buildhpc.sites import places as toml


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and the user's own in `config`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "hpcmake").mkdir(parents=True)
    return tmp_path


def here(folder: Path, text: str) -> None:
    (folder / "hpcmake.toml").write_text(text)


def of_user(folder: Path, text: str) -> None:
    (folder / "config" / "hpcmake" / "hpcmake.toml").write_text(text)


def cluster(folder: Path, alias: str, *options: str) -> Cluster:
    return read_sites(str(folder), options, alias).cluster(alias)


@pytest.mark.parametrize("name", ["slurm", "pbs", "sge", "file"])
def test_the_name_of_a_scheduler_is_a_cluster(folder: Path, name: str) -> None:
    assert cluster(folder, name) == Cluster(name, name)


def test_this_machine_is_asked_more_often(folder: Path) -> None:
    found = cluster(folder, "local")
    assert (found.poll_s, found.grace_s, found.max_submitted) == (2.0, 5.0, 10_000)
    assert cluster(folder, "local", "poll=1m").poll_s == 60


EVERYTHING = """\
[cluster.gpu]
scheduler     = "slurm"
host          = "login2.cluster.example"
ssh           = "-p 2222 -i '~/my key'"
user          = "me"
python        = "/usr/bin/python3"
folder        = "/scratch/project"
account       = "p123"
qos           = "normal"
constraint    = "ib"
options       = ["--exclusive", "--comment=a b"]
max_submitted = 500
max_array     = 100
poll          = "30s"
latency       = "1m"
grace         = "2m"
submit_rate   = 2.5
gpu_option    = "gres"

[[cluster.gpu.partition]]
name     = "short"
max_time = "1h"
max_mem  = "64G"
max_cores = 16
max_gpus = 0
max_nodes = 1

[[cluster.gpu.partition]]
name = "gpu"
gpu_kinds = ["a100", "h100"]
account = "g1"
qos = "gpu"
constraint = "nvlink"
options = "--exclude=n1"

[cluster.gpu.rule.map_reads]
mem = "16G"
time = "1h30m"
cores = 8
gpus = "a100:2"
nodes = 2
tasks = 4
disk = "100G"
partition = "short"
account = "p9"
qos = "low"
constraint = "big"
options = ["--x"]
"""

# Sizes and times are those of expressions, so that the rules can use them as their own.
RULE = {
    "mem": 16 * 2**30, "time": 5400, "cores": 8, "gpus": "a100:2", "nodes": 2, "tasks": 4,
    "disk": 100 * 2**30, "partition": "short", "account": "p9", "qos": "low", "constraint": "big",
    "options": ("--x",),
}  # fmt: skip


def test_all_that_can_be_said(folder: Path) -> None:
    here(folder, EVERYTHING)
    found = cluster(folder, "gpu")
    assert found == Cluster(
        alias="gpu", scheduler="slurm", switches=Switches({"gpu_option": "gres"}),
        host="login2.cluster.example", ssh=("-p", "2222", "-i", "~/my key"), user="me",
        python="/usr/bin/python3", folder="/scratch/project", account="p123", qos="normal",
        constraint="ib", options=("--exclusive", "--comment=a b"), max_submitted=500,
        max_array=100, poll_s=30.0, latency_s=60.0, grace_s=120.0, submit_rate=2.5,
        partitions=(
            Partition("short", 3600, 65536, 16, 0, 1),
            Partition(
                "gpu", gpu_kinds=("a100", "h100"), account="g1", qos="gpu", constraint="nvlink",
                options=("--exclude=n1",),
            ),
        ),
        rules={"map_reads": RULE},
    )  # fmt: skip
    words = found.words("map_reads")
    assert (words["mem"].gb, words["time"].minutes) == (16, 90)
    assert found.words("other") == {}


def test_layers_are_merged_key_by_key(folder: Path) -> None:
    of_user(
        folder,
        """\
        [cluster.gpu]
        scheduler = "slurm"
        account = "mine"
        qos = "low"
        rule.map = { mem = "1G", cores = 2 }
        [[cluster.gpu.partition]]
        name = "users"
        [cluster.other]
        scheduler = "sge"
        """,
    )
    here(
        folder,
        """\
        [cluster.gpu]
        account = "project"
        rule.map.mem = "2G"
        [[cluster.gpu.partition]]
        name = "projects"
        """,
    )
    found = cluster(folder, "gpu", "qos=high", "other.account=no", "gpu.account=called")
    assert (found.scheduler, found.account, found.qos) == ("slurm", "called", "high")
    assert [each.name for each in found.partitions] == ["projects"]
    assert found.words("map") == {"mem": 2 * 2**30, "cores": 2}
    assert cluster(folder, "other").scheduler == "sge"
    assert read_sites(str(folder)).names()[5:] == ["gpu", "other"]


def test_without_a_default_options_are_for_all_clusters(folder: Path) -> None:
    sites = read_sites(str(folder), ["account=p1", "sge.account=p2"])
    assert [sites.cluster(name).account for name in ("slurm", "sge", "pbs")] == ["p1", "p2", "p1"]


def test_an_option_is_read_as_its_setting_is(folder: Path) -> None:
    options = ("account=123", "max_submitted=5", "submit_rate=0.5", "options=--a '--b c'", "ssh=")
    found = cluster(folder, "slurm", *options)
    assert found == Cluster(
        "slurm", "slurm", account="123", max_submitted=5, submit_rate=0.5, options=("--a", "--b c")
    )


PARTITIONS = """\
[cluster.slurm]
account = "p0"
qos = "q0"
options = "--all"
[[cluster.slurm.partition]]
name = "short"
max_time = "1h"
max_mem = "64G"
max_cores = 8
max_gpus = 0
max_nodes = 1
[[cluster.slurm.partition]]
name = "gpu"
gpu_kinds = ["a100"]
max_gpus = 4
max_time = "1d"
account = "g1"
options = "--gpu"
[[cluster.slurm.partition]]
name = "long"
"""

PLACED = [
    (Request(), "short"),
    (Request(cores=8, mem_mib=65536, time_s=3600), "short"),
    (Request(time_s=3601), "gpu"),
    (Request(mem_mib=65537), "gpu"),
    (Request(cores=3, tasks=3), "gpu"),
    (Request(nodes=2, mem_mib=2 * 65536), "gpu"),
    (Request(gpus=4), "gpu"),
    (Request(gpus=1, gpu_kind="a100"), "gpu"),
    (Request(gpus=1, gpu_kind="v100"), "long"),
    (Request(gpus=5), "long"),
    (Request(time_s=86401), "long"),
    (Request(partition="long"), "long"),
    (Request(partition="of its own", time_s=10**9), "of its own"),
]


@pytest.mark.parametrize(("request_", "name"), PLACED)
def test_the_first_partition_that_takes_a_job_is_chosen(
    folder: Path, request_: Request, name: str
) -> None:
    here(folder, PARTITIONS)
    assert cluster(folder, "slurm").placed(request_, "a").partition == name


def test_what_a_job_says_goes_before_its_partition_and_that_before_the_cluster(
    folder: Path,
) -> None:
    here(folder, PARTITIONS)
    found = cluster(folder, "slurm")
    assert found.placed(Request(gpus=1, options=("--own",)), "a") == Request(
        gpus=1, partition="gpu", account="g1", qos="q0", options=("--all", "--gpu", "--own")
    )
    placed = found.placed(Request(gpus=1, account="mine", qos="own"), "a")
    assert (placed.account, placed.qos) == ("mine", "own")


def test_an_option_names_one_of_the_partitions(folder: Path) -> None:
    here(folder, PARTITIONS)
    found = cluster(folder, "slurm", "partition=long")
    assert found.placed(Request(), "a").partition == "long"
    with pytest.raises(HpcmakeError):
        cluster(folder, "slurm", "partition=gpu").placed(Request(gpus=5), "a")


def test_where_no_partitions_are_described_the_named_one_is_taken(folder: Path) -> None:
    here(folder, '[cluster.slurm]\npartition = "all"\n')
    assert cluster(folder, "slurm").placed(Request(time_s=10**9), "a").partition == "all"
    assert cluster(folder, "sge").placed(Request(), "a") == Request()


def test_settings_of_the_scheduler_are_its_switches(folder: Path) -> None:
    here(folder, '[cluster.here]\nscheduler = "local"\ncores = 3\nmem = "2G"\npython = "/py"\n')
    assert cluster(folder, "here").switches == Switches(
        {"cores": "3", "mem": "2G", "python": "/py"}
    )


WRONG = [
    # a file, place, part of what is said
    ('scheduler = "slurm"\n', "1:1", "there is no setting `scheduler`"),
    ("cluster = 3\n", "1:11", "`cluster` wants tables"),
    ("[cluster]\nslurm = 1\n", "2:9", "`slurm` wants a table"),
    ('[cluster.x]\nscheduler = "slrm"\n', "2:13", "`scheduler` wants one of slurm, pbs"),
    ("[cluster.x]\nscheduler = 1\n", "2:13", "`scheduler` wants a text in quotes, not 1"),
    ('[cluster.slurm]\naccount = ""\n', "2:11", "`account` wants a text in quotes"),
    ("[cluster.slurm]\nmax_array = 0\n", "2:13", "`max_array` wants a whole number above 0"),
    ("[cluster.slurm]\nmax_array = true\n", "2:13", "`max_array` wants a whole number above 0"),
    ("[cluster.slurm]\nsubmit_rate = -1\n", "2:15", "`submit_rate` wants a number above 0"),
    ('[cluster.slurm]\npoll = "15"\n', "2:8", "`poll` wants a time"),
    ('[cluster.slurm]\npoll = "1G"\n', "2:8", "`poll` wants a time"),
    ("[cluster.slurm]\noptions = [1]\n", "2:11", "`options` wants words"),
    ('[cluster.slurm]\noptions = "a \'b"\n', "2:11", "`options` wants words"),
    ('[cluster.slurm]\npartition = ["a"]\n', "2:14", "`partition` wants tables"),
    ("[cluster.slurm]\nrule = 1\n", "2:8", "`rule` wants a table"),
    ("[cluster.slurm.rule]\nmap = 1\n", "2:7", "`map` wants a table"),
    ('[cluster.slurm.rule.map]\ngpus = "a100"\n', "2:8", "`gpus` wants a number, or kind"),
    ("[cluster.slurm.rule.map]\nmem = 16\n", "2:7", "`mem` wants a size"),
    ("[cluster.slurm]\naccounting = []\n", "2:14", '`accounting` wants `"sacct"` or `"none"`'),
    ("# a\n[cluster.slurm]\nhost='''\n'''\n", "3:6", "`host` wants a text in quotes"),
]


@pytest.mark.parametrize(("text", "place", "says"), WRONG)
def test_what_is_wrong_is_told_where_it_stands(
    folder: Path, text: str, place: str, says: str
) -> None:
    here(folder, text)
    alias = "x" if "cluster.x" in text else "slurm"
    with pytest.raises(HpcmakeError) as caught:
        cluster(folder, alias)
    assert f"]: {says}" in str(caught.value)
    assert f" --> hpcmake.toml:{place}\n" in str(caught.value)


TEXTS = [
    "",
    "a = 1",
    "a.b . c = 1\na.d = 2\n",
    '"a b"."c\\"]" = 1\n\'x.y\' = \'"\'\n',
    "a = [ 1, [2, 3], # ] \n {b = 1, c.d = [4]}, ]\nb = []\nc = {}\n",
    '[ x . "y=" ] # [no]\nz = 1979-05-27T07:32:00Z # = \n[[x.l]]\na=1\n[[x.l]]\na = 2\n'
    "[x.l.m]\nb=1\n[[x.l.n]]\nc=1\n[[x.l]]\n[[x.l.n]]\nc=3\n[x]\nq=1\n",
    'a = \'\'\'\nb = 1\n\'\'\' \nc = """\\"""x = 1 \\\n """""\nd = \'\'\ne = ""\n',
    "\ufeffa = 1\r\nb = [\r\n1,\r\n]\r\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_value_has_its_place(text: str) -> None:
    layer = toml.parse("x.toml", text)
    assert layer.places.keys() == set(paths(layer.values))
    for path, place in layer.places.items():
        key = place.key.text
        named = key if key[:1] not in "\"'" else next(iter(tomllib.loads(f"{key} = 1")))
        if isinstance(path[-1], str):
            assert named == path[-1]
        value = value_at(layer.values, path)
        if not isinstance(value, dict | list) or place.value.text[:1] == "{":
            assert tomllib.loads(f"x = {place.value.text}")["x"] == value


def paths(value: Any, path: toml.Path = ()) -> list[toml.Path]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [found for key, each in pairs for found in ((*path, key), *paths(each, (*path, key)))]


def value_at(value: Any, path: toml.Path) -> Any:
    for key in path:
        value = value[key]
    return value
