#!/usr/bin/env bash
# Every run of docs/reality-check.md, part by part:
#
#     bash study/reality.sh PART ...     # fashion losses lists unseen phase epochs centroids quantizer thresholds
#
# From the repository's root, after `make install` and `source .venv/bin/activate`. `fashion` needs no download; the
# other parts need data/cifar10_jpeg, data/miniimagenet100_10k and data/corel5k_21 in list format, and
# data/weights/tf_efficientnet_lite0.safetensors, `thresholds` AlexNet's weights too. What is there is not run again; runs
# and searches go to results/. `python tools/publish.py && python tools/generate.py` then writes the tables.
set -euo pipefail
export LC_ALL=C

rivals="relahash sweep --direct --file study/rivals.yml"
classes="relahash sweep --direct --file study/centroids.yml"
mini="--root data/miniimagenet100_10k --top-k 1000"
corel="--root data/corel5k_21 --top-k all"
hidden="--root data/miniimagenet100_unseen --top-k 1000 --bits 64"

fashion() {
  relahash tune --file study/rivals_mini.yml --trials 16
  relahash sweep --direct --file study/rivals_mini.yml --tuned results/tuned
  relahash sweep --direct --file study/rivals_mini.yml
}

losses() {
  for data in "" "$mini" "$corel"; do
    relahash tune --file study/rivals.yml $data
    $rivals $data --tuned results/tuned
    $rivals $data
    $rivals $data --loss itq --loss-options '{"iterations": 0}'
  done
}

copy() { mkdir "data/$2" && cp -rl "data/$1/." "data/$2" && rm "data/$2"/*.txt; }

lists() { # made of the others: 25 classes apart, a database without the training images, four other splits
  copy miniimagenet100_10k miniimagenet100_unseen
  local from=data/miniimagenet100_10k to=data/miniimagenet100_unseen
  awk '{for (i = 77; i <= NF; i++) if ($i) next; print}' $from/train.txt > $to/train.txt
  for part in test database; do
    awk '{for (i = 77; i <= NF; i++) if ($i) {print; next}}' $from/$part.txt > $to/$part.txt
  done
  copy cifar10_jpeg cifar10_apart
  cp data/cifar10_jpeg/{train,test}.txt data/cifar10_apart
  grep -vxFf data/cifar10_jpeg/{train,database}.txt > data/cifar10_apart/database.txt
  for seed in 1 2 3 4; do
    copy cifar10_jpeg cifar10_split$seed
    sort data/cifar10_jpeg/{test,database}.txt | shuf --random-source=<(yes $seed) | (cd data/cifar10_split$seed && awk '
      {class = $0; sub(/^[^ ]+ /, "", class); place = ++count[class]}
      {print > (place <= 100 ? "test.txt" : "database.txt")}
      place > 100 && place <= 600 {print > "train.txt"}')
  done
}

unseen() {
  $rivals $hidden
  $rivals $hidden --loss itq --loss-options '{"iterations": 0}'
  $rivals --root data/cifar10_apart --bits 64
  for seed in 1 2 3 4; do $rivals --root data/cifar10_split$seed --bits 64 --seed 0; done
}

phase() { # the grids of scale, margin and batch size
  local grid="$rivals --bits 64 --seed 0 --results-dir results_phase" beta="4 8 16 32 64"
  $grid --loss relahash --beta $beta --margin 0 0.025 0.125 0.5
  $grid --loss orthohash --beta 0.5 1 2 4 8 --margin 0 0.2 1 4
  $grid --loss relahash --beta $beta --margin 0.5 --batch-size 16 256
  $grid --loss relahash --beta $beta --batch-size 16 64 256 --loss-options '{"reference_batch_size": 64}'
}

epochs() { # a score after each epoch
  $rivals --bits 64 --seed 0 --eval-interval 1 --results-dir results_epochs
}

centroids() { # which class gets which code
  local ours=study.reassigned
  for data in "$mini" "$corel" "$hidden"; do
    $classes $data
    $classes $data --centroids max_hamming --loss $ours:RelaHash $ours:OrthoHash $ours:DPN
  done
}

quantizer() { # product quantization at equal bytes, by FAISS
  for data in "" "$mini" "--root data/corel5k_21"; do python -m study.quantizer $data; done
}

thresholds() { # one for each bit; the first runs need no download
  relahash sweep --direct --loss relahash orthohash --seed 0 1 2
  python -m study.thresholds fashion_mini-64bits-orthohash-seed{0-44af8f4e,1-169cb674,2-93875ccc} \
    fashion_mini-64bits-relahash-seed{0-d65ef115,1-3f269d0e,2-80093580}
  local cifar="--dataset lists --root data/cifar10_jpeg" weights=data/weights
  relahash sweep $cifar --beta 50 --epochs 10 --precision bf16 --weights $weights/alexnet_features_imagenet1k.safetensors
  relahash sweep $cifar --recipe laptop --weights $weights/tf_efficientnet_lite0.safetensors \
    --epochs 18 --ema 0.99 --beta 8 --margin 0.5
  $rivals --bits 64 --seed 0 1 2 --loss relahash orthohash dpn csq
  python -m study.thresholds lists-cifar10_jpeg-64bits-relahash-seed0-{9ecc39bf,d6a5f381,503ddb4a} \
    lists-cifar10_jpeg-64bits-relahash-seed{1-20970619,2-5357d637} \
    lists-cifar10_jpeg-64bits-orthohash-seed{0-bdc6a2b7,1-68491caf,2-105b60a6} \
    lists-cifar10_jpeg-64bits-dpn-seed{0-a192bba5,1-4b323c15,2-1fbe53d1} \
    lists-cifar10_jpeg-64bits-csq-seed{0-5ea8d6c3,1-6bd91701,2-ac1286c0}
}

[ $# -gt 0 ] || sed -n '2,9s/^# \{0,1\}//p' "$0"
for part in "$@"; do "$part"; done
