#!/usr/bin/env bash
# Trains a config, or runs a pipeline or a matrix, with N workers of a Slurm cluster:
#   tools/slurm_train.sh PARTITION JOB CONFIG N [options of the tool]
# Environment: WORKERS_PER_NODE (N, at most 8), CPUS_PER_WORKER (5), GRES (one GPU for each
# worker; empty for workers on CPUs), PORT, and SRUN_ARGS, further options of srun.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG N [options]" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
total=$4
shift 4
if ! [[ $total =~ ^[1-9][0-9]*$ ]]; then
    echo "error: N=$total: give the number of workers, a whole number from 1 on" >&2
    exit 2
fi
each=${WORKERS_PER_NODE:-$((total < 8 ? total : 8))}
if ! [[ $each =~ ^[1-9][0-9]*$ ]] || ((total % each)); then
    echo "error: N=$total workers cannot be shared by machines with WORKERS_PER_NODE=$each" \
        'workers each: give a whole number that divides N' >&2
    exit 2
fi
nodes=$((total / each))
gres=${GRES-gpu:$each}

# srun starts one launcher on each machine, which starts the workers there.
# shellcheck disable=SC2016
on_each_machine='
export NNODES=$SLURM_NTASKS NODE_RANK=$SLURM_PROCID
if ((NNODES > 1)); then
    export PORT=${PORT:-$((20000 + SLURM_JOB_ID % 20000))}
    export MASTER_ADDR=$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1)
fi
exec "$@"'
# shellcheck disable=SC2086
exec srun --partition="$partition" --job-name="$job" --nodes="$nodes" --ntasks="$nodes" \
    --ntasks-per-node=1 --cpus-per-task=$((each * ${CPUS_PER_WORKER:-5})) \
    ${gres:+--gres="$gres"} --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    bash -c "$on_each_machine" launch "$(dirname "$0")/dist_train.sh" "$config" "$each" "$@"
