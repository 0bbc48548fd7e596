#!/usr/bin/env bash
# The whole chain, from recordings to a report. Run again, it goes on where it stopped.
#
#   examples/pipeline.sh RECORDINGS LABELLED [OUT]
#
# RECORDINGS  unlabelled, with PPG and ECG: a folder, or vitaldb
# LABELLED    labelled, such as BUT PPG's tree (recipe but_ppg)
# OUT         where everything goes; [artifacts/pipeline]
#
# EPOCHS (20), FOLDS (5), BIOSIG ("biosig") may be set.
set -euo pipefail

recordings=${1:?"usage: $0 RECORDINGS LABELLED [OUT]"}
labelled=${2:?"usage: $0 RECORDINGS LABELLED [OUT]"}
out=${3:-artifacts/pipeline}
epochs=${EPOCHS:-20}
folds=${FOLDS:-5}
read -ra biosig <<<"${BIOSIG:-biosig}"

mode=full
[[ $recordings == vitaldb ]] && mode=fasttrack

"${biosig[@]}" prepare-splits --source "$recordings" --mode "$mode" --output "$out"
"${biosig[@]}" build-windows --split-file "$out/splits_$mode.json" --outdir "$out/windows"
"${biosig[@]}" audit "$out/windows"
"${biosig[@]}" smoke --data-dir "$out/windows" --output-dir "$out/smoke"
"${biosig[@]}" pretrain --config ssl_pretrain --data-dir "$out/windows" --output-dir "$out/encoder" \
    --epochs "$epochs" --lr 2e-3 --batch-size 32 --warmup-epochs 2 --resume
"${biosig[@]}" finetune --config finetune_but_ppg --pretrained "$out/encoder" --data-dir "$labelled" \
    --output-dir "$out/model" --folds "$folds" --epochs "$epochs" --resume
"${biosig[@]}" finetune --config finetune_but_ppg --from-scratch --data-dir "$labelled" \
    --output-dir "$out/scratch" --folds "$folds" --epochs "$epochs" --resume
"${biosig[@]}" evaluate --checkpoint "$out/model" --checkpoint "$out/scratch" --output-dir "$out/report"
echo "the report: $out/report/report.html"
