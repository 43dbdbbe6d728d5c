#!/usr/bin/env bash
# Trains a config, or runs a pipeline or a matrix, with several workers on this machine:
#   tools/dist_train.sh configs/acr/synthetic.py 2 [options of the command]
# It is `wsss launch 2 train configs/acr/synthetic.py [options]`, or with `run` or `matrix`.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG WORKERS [options]" >&2
    exit 2
fi
config=$1
workers=$2
shift 2
command=train
if [[ $config == *_pipeline.py ]] || grep -qs '^pipeline = ' "$config"; then
    command=run
elif grep -qs '^matrix = ' "$config"; then
    command=matrix
fi
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" "$workers" \
    "$command" "$config" "$@"
