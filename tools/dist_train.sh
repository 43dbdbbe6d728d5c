#!/usr/bin/env bash
# Trains a config, or runs a pipeline or a matrix, with several workers on this machine:
#   tools/dist_train.sh configs/acr/synthetic.py 2 [options of the tool]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT for several machines.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG WORKERS [options]" >&2
    exit 2
fi
config=$1
workers=$2
shift 2
tool=train.py
if [[ $config == *_pipeline.py ]] || grep -qs '^pipeline = ' "$config"; then
    tool=run_pipeline.py
elif grep -qs '^matrix = ' "$config"; then
    tool=run_matrix.py
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$workers" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/$tool" "$config" --launcher pytorch "$@"
