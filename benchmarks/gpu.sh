#!/bin/sh
# Everything that needs an NVIDIA GPU, on a machine that has one: whether it starts, the tests of the GPU build, parity there, and the speed beside other
# engines on the same GPU. Makes an environment of its own, because the GPU build of ONNX Runtime replaces the other.
#
#     sh benchmarks/gpu.sh [RESULTS]
#
# RESULTS (gpu-results) gets doctor.json, a report for each model and precision, and bench/. PYTHON names the interpreter to begin with.
set -eu
cd "$(dirname "$0")/.."
results=${1:-gpu-results}
python=${PYTHON:-python3}
mkdir -p "$results"
bin=$results/environment/bin

nvidia-smi || { echo "there is no NVIDIA GPU to measure" >&2; exit 1; }
if [ ! -e "$results/environment/ready" ]; then
    "$python" -m venv "$results/environment"
    # The extra bench would bring faster-whisper, and that the CPU's build of ONNX Runtime: it comes without what it asks for.
    "$bin/pip" install -c constraints.txt --editable ".[gpu,audio,export,dev]" "onnxruntime-gpu[cuda,cudnn]" sacrebleu rouge-score jiwer psutil matplotlib ctranslate2 av
    "$bin/pip" install -c constraints.txt --no-deps faster-whisper
    touch "$results/environment/ready"
fi

"$bin/zen-edge" doctor --json > "$results/doctor.json" || { "$bin/zen-edge" doctor; exit 1; }
ZEN_EDGE_GPU_PYTHON=$(realpath "$bin/python") "$bin/python" -m pytest -m gpu_wheel

failed=""
for model in marian-en-fr bart-summaries; do
    for precision in fp32 fp16 int8-blocks; do
        bundle=$results/$model-$precision
        [ -e "$bundle" ] || "$bin/zen-edge" export "zen_edge/data/$model" "$bundle" --precision "$precision" --device cuda
        "$bin/zen-edge" doctor "$bundle" --device cuda --json > "$bundle.placement.json"
        "$bin/zen-edge" parity "$bundle" "zen_edge/data/$model" --device cuda --report "$bundle.parity.html" || failed="$failed $model-$precision"
    done
    for graphs in "" --cuda-graphs; do
        "$bin/zen-edge" bench "$results/$model-fp32" "$results/$model-fp16" "$results/$model-int8-blocks" --against torch,ctranslate2:fp16,ctranslate2:int8 \
            --model "zen_edge/data/$model" --device cuda ${graphs:+"$graphs"} --batch-sizes 1,8,32 --num-beams 1,4 --report "$results/bench/$model$graphs"
    done
done
[ -z "$failed" ] || { echo "parity did not hold:$failed" >&2; exit 3; }
