# shellcheck shell=bash disable=SC2034,SC2154 # used and set in others
# What the scripts for Slurm share; sourced after common.sh.
#
# Clusters have a controller (slurmctld) and virtual nodes (slurmd) of their own. They share a
# database: munged, which all of Slurm needs, mariadbd and slurmdbd, which keep the accounting.

db=$base/slurm-db
db_port=$port sql_port=$((port + 1))

# A cluster: its folder, its ports, how many nodes.
choose() {
    local index
    case $1 in
        alpha) index=0 nodes=4 ;;
        beta) index=1 nodes=2 ;;
        gamma) index=2 nodes=4 ;;
        pbs) index=3 nodes=2 ;;
        *) die "no cluster $1; there are alpha, beta, gamma and pbs" ;;
    esac
    name=$1 dir=$base/slurm-$1
    controller_port=$((port + 10 + index)) node_ports=$((port + 100 + 20 * index))
    export SLURM_CONF=$dir/slurm.conf
}
chosen_nodes() { seq -f "$name%g" "$nodes"; }

# running FOLDER FILE: whether a process of the folder has the number in the file.
running() {
    [ -s "$1/$2" ] && grep -qzxF "$tag=$1" "/proc/$(cat "$1/$2")/environ" 2>/dev/null
}

controller_up() { timeout 5 scontrol ping | grep -q UP; }
database_up() {
    [ -s "$db/slurm.conf" ] && munge -n -S "$db/munge/socket" &&
        SLURM_CONF=$db/slurm.conf timeout 5 sacctmgr -n -P show cluster
} >/dev/null
nodes_up() {
    local node up
    for node in $(chosen_nodes); do running "$dir" "$node.pid" || return 1; done
    up=$(timeout 5 sinfo -h -N -o '%N %t' | sort -u | grep -cE ' (idle|mix|alloc|comp)$') ||
        return 1
    [ "$up" = "$nodes" ]
}
registered() { timeout 5 sacctmgr -n -P show cluster format=cluster | grep -qx "$name"; }
healthy() { [ -s "$SLURM_CONF" ] && controller_up && database_up && registered && nodes_up; }

start_controller() { daemon "$dir" SLURM_CONF="$SLURM_CONF" slurmctld; }
start_node() { daemon "$dir" SLURM_CONF="$SLURM_CONF" slurmd -N "$1"; }
start_slurmdbd() { daemon "$db" SLURM_CONF="$db/slurm.conf" slurmdbd; }

# cluster_down: end its jobs and its daemons, remove its state.
cluster_down() {
    [ -d "$dir" ] || return 0
    ! controller_up 2>/dev/null || cancel_jobs
    end "$dir"
    kill_jobs "SLURM_CONF=$SLURM_CONF" SLURMD_NODENAME
    # Memory groups of jobs, the deepest first.
    find /sys/fs/cgroup/memory/slurm_"$name"* -depth -type d -exec rmdir {} + 2>/dev/null || true
    rm -rf "$dir"
    say "$name is down"
}

# cancel_jobs: all of them, and see them end; a node that is down may keep some.
cancel_jobs() {
    timeout 20 squeue -h -o %F | sort -u | xargs -r timeout 20 scancel -Q || true
    within 5 no_jobs || true
}
no_jobs() { [ -z "$(timeout 5 squeue -h -o %A)" ]; }

database_down() {
    [ -d "$db" ] || return 0
    end "$db"
    rm -rf "$db"
    say "the database is down"
}
