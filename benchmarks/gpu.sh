#!/usr/bin/env bash
# Everything that is measured on a GPU, in one command of at most ten minutes:
#
#     benchmarks/gpu.sh [FOLDER]
#
# Attribution, ACR's maps, E-MHA, the dense CRF and the random walk for batches of 32, with peak
# memory, ratios to what the originals need for each class, and gaps to float32 on the CPU (bar
# 1e-4); then the pipeline on synthetic images of 224 px. The tables are printed and written to
# FOLDER (default: work_dirs/gpu), as text and as JSON. DEVICE=cpu runs all of it in a tiny form,
# to try the commands; PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-work_dirs/gpu}
device=${DEVICE:-cuda}
python=${PYTHON:-python}
if [ "$device" = cuda ]; then
  if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo 'error: no GPU is found here; DEVICE=cpu benchmarks/gpu.sh tries the commands in a tiny form' >&2
    exit 2
  fi
  threads=$(nproc)
  attribution=(--images 32 --repeats 2 --against-cpu 1)
  acr=(--images 32 --repeats 3 --against-cpu 1)
  exvit=(--images 32 --tokens 197 785 --repeats 3 --against-cpu 2)
  crf=(--images 32 --repeats 3)
  walk=(--images 32 --repeats 1)
  side=224 train=400 val=100 epochs=10
else
  export CUDA_VISIBLE_DEVICES=
  threads=1
  attribution=(--model vit_tiny_patch16_224 --size 32 --images 2 --classes 2 --repeats 1
    --against-cpu 1 --only 'attention rollout' 'transformer attribution')
  acr=(--parts maps --models 'DeiT-S 224' --images 1 --classes 1 --repeats 1 --against-cpu 1)
  exvit=(--model vit_tiny_patch16_224 --depth 1 --images 2 --tokens 17 --repeats 1
    --against-cpu 1)
  crf=(--labels 3 --images 1 --repeats 1)
  walk=(--maps 2 --images 1 --repeats 0 --no-large)
  side=32 train=16 val=8 epochs=1
fi
mkdir -p "$out"

measure() { # NAME ARGUMENTS: one benchmark, which may fail without stopping the others
  echo "== $1"
  local name=$1
  shift
  "$python" "benchmarks/$name.py" --device "$device" --threads "$threads" \
    --json "$out/$name.json" "$@" | tee "$out/$name.txt" || failed+=("$name")
}

failed=()
measure attribution "${attribution[@]}"
measure acr "${acr[@]}"
measure exvit "${exvit[@]}"
measure dense_crf "${crf[@]}"
measure random_walk "${walk[@]}"

echo "== pipeline on synthetic images of $side px"
size="($side,$side)"
classifier="{'model.backbone.img_size':$side,'train_dataloader.dataset.pipeline.2.size':$side"
classifier+=",'train_cfg.max_epochs':$epochs}"
segmentor="{'model.data_preprocessor.size':$size"
segmentor+=",'train_dataloader.dataset.pipeline.2.scale':$size"
segmentor+=",'train_dataloader.dataset.pipeline.3.crop_size':$size"
segmentor+=",'train_cfg.max_epochs':$epochs}"
begin=$SECONDS
"$python" tools/prepare_data.py synthetic --out "$out/synthetic_$side" --size "$side" \
  --train "$train" --val "$val" &&
  "$python" tools/run_pipeline.py acr/synthetic_pipeline --work-dir "$out/pipeline_$side" \
    --data-root "$out/synthetic_$side/VOC2012" --cfg-options \
    "pipeline.classifier.options=$classifier" "pipeline.segmentor.options=$segmentor" \
    2>&1 | tee "$out/pipeline.txt" || failed+=(pipeline)
echo "pipeline: $((SECONDS - begin)) s; all: $SECONDS s; tables in $out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "error: failed: ${failed[*]}; their output is above" >&2
  exit 1
fi
