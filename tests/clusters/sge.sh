# shellcheck shell=bash disable=SC2034,SC2154 # used and set in others
# What the scripts for Grid Engine share; sourced after common.sh.

dir=$base/sge
programs=/usr/lib/gridengine # Debian's commands on PATH are slower wrappers around these
export SGE_ROOT=$dir/root SGE_CELL=default SGE_CLUSTER_NAME=sge
export SGE_QMASTER_PORT=$((port + 90)) SGE_EXECD_PORT=$((port + 91))
export PATH=$programs:$PATH

# Forward and reverse lookup of a host's name often disagree, which Grid Engine refuses. It knows
# this machine as localhost, and all other names of it as aliases.
node=localhost

# running PROGRAM: the process of a daemon, if it has one.
running() {
    local pid
    for pid in $(tagged "$dir"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$1" ] || echo "$pid"
    done
}

qmaster_up() { timeout 5 qconf -sh; } >/dev/null 2>&1
# A host that is not heard of has no load; a queue that is not well has letters in a sixth column.
# Both are known late where execd was killed.
execd_up() {
    [ -n "$(running sge_execd)" ] &&
        timeout 5 qhost -h $node | awk '/^localhost / { up = $4 != "-" } END { exit !up }' &&
        timeout 5 qstat -f -q all.q | awk '/^all\.q@/ { up = NF < 6 } END { exit !up }'
} 2>/dev/null
healthy() { [ -s "$SGE_ROOT/default/common/act_qmaster" ] && qmaster_up && execd_up; }

# start PROGRAM: one of the daemons.
start() {
    daemon "$dir" SGE_ROOT="$SGE_ROOT" SGE_CELL=$SGE_CELL SGE_QMASTER_PORT=$SGE_QMASTER_PORT \
        SGE_EXECD_PORT=$SGE_EXECD_PORT LD_PRELOAD="$dir/loopback.so" "$programs/$1"
}

# sge_down: end the jobs and the daemons, remove the state.
sge_down() {
    [ -d "$dir" ] || return 0
    ! qmaster_up || delete_jobs
    end "$dir"
    kill_jobs "SGE_ROOT=$SGE_ROOT" SGE_JOB_SPOOL_DIR
    rm -rf "$dir"
    say "Grid Engine is down"
}

# delete_jobs: all of them, also where no execd answers, and see them end.
delete_jobs() {
    timeout 20 qdel -f -u '*' >/dev/null 2>&1 || true
    within 5 no_jobs || true
}
no_jobs() { [ -z "$(timeout 5 qstat -u '*')" ]; }
