# shellcheck shell=bash disable=SC2034 # used where this is sourced
# What the scripts of this folder share; sourced by each of them.
#
#   HPCMAKE_CLUSTERS       the folder of all that they make (/tmp/hpcmake-clusters). Sockets lie
#                          in it: its path may have some 60 characters.
#   HPCMAKE_CLUSTERS_PORT  the first of 200 TCP ports, all on loopback only (17300)
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
umask 022

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
me=$(basename "$0")
base=${HPCMAKE_CLUSTERS:-/tmp/hpcmake-clusters}
port=${HPCMAKE_CLUSTERS_PORT:-17300}
host=$(hostname -s)
tag=HPCMAKE_TEST_CLUSTER # in the environment of each daemon: the folder that it belongs to

say() { echo "$me: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# The words at the head of a script, and how to call it.
usage() {
    sed -n '2,${/^# shellcheck/q; s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

[ "$(id -u)" = 0 ] || die "only root can start daemons that run the jobs of others"

# installed COMMAND...: all of them are there.
installed() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || die "no $command; tests/run installs what is needed"
    done
}

# one_at_a_time NAME: wait for another script that works on the same daemons.
one_at_a_time() {
    mkdir -p "$base"
    exec 9>"$base/$1.script.lock"
    flock 9
}

# daemon FOLDER [NAME=VALUE...] COMMAND...: start what goes into the background by itself. It gets
# nothing of ours: a pipe that it kept open would let `$(slurm-up)` wait for ever.
daemon() {
    local folder=$1
    shift
    (cd / && env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$tag=$folder" "$@") \
        </dev/null >>"$folder/log/start.log" 2>&1 9>&-
}

# carrying NAME=VALUE: the processes that have it in their environment. Zombies, which stay where
# process 1 does not reap them, have none.
carrying() { { grep -lzxF "$1" /proc/[0-9]*/environ 2>/dev/null || true; } | cut -d/ -f3; }

# tagged FOLDER: the processes that were started for it.
tagged() { carrying "$tag=$1"; }

# kill_jobs NAME=VALUE VARIABLE: jobs outlive daemons that were killed. All of them carry the
# first, and the second besides, which no daemon has.
kill_jobs() {
    local pid
    for pid in $(carrying "$1"); do
        ! grep -qz "^$2=" "/proc/$pid/environ" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    done
}

# end FOLDER: kill its processes; what they would save is removed anyway.
end() { within 10 killed "$1" || die "processes of $1 do not end"; }
killed() {
    tagged "$1" | xargs -r kill -KILL
    gone "$1"
}
gone() { [ -z "$(tagged "$1")" ]; }

# within SECONDS COMMAND...: try until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

free_port() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# give_up FOLDER WHY: with the ends of its logs.
give_up() {
    tail -n 15 "$1"/log/*.log >&2 2>/dev/null || true
    die "$2"
}

# Daemons that are to listen on loopback only take the address of the host's own name.
name_is_loopback() {
    local address
    address=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }') || true
    case $address in 127.*) return ;; esac
    say "adding '127.0.0.1 $host' to /etc/hosts"
    { echo "127.0.0.1 $host"; cat /etc/hosts 2>/dev/null || true; } >"$base/hosts"
    cat "$base/hosts" >/etc/hosts # not moved: the file may be mounted
}
