#!/usr/bin/env bash
# Every run of docs/reality-check.md, part by part, in this order:
#
#     bash study/reality.sh PART ...            # from the repository's root
#     bash study/reality.sh --plan [PART ...]   # counts the runs and searches of each part; of all, where none is named
#
# Parts: lists defaults new_images protocol seeds unseen splits grid phase epochs centroids quantizer dividend thresholds
#
# The plan ends each line with what is published of this part, some rows more than it makes now, and the hours that these
# took on one core, where they say it (`study/hours.py`).
#
# `make install` and `source .venv/bin/activate` come first. Fashion-MNIST needs no download; the other parts need
# data/cifar10_jpeg, data/miniimagenet100_10k and data/corel5k_21 in list format, and
# data/weights/tf_efficientnet_lite0.safetensors, `thresholds` AlexNet's weights too. What is there is not run again; runs
# and searches go to results/ and its neighbours. `python tools/publish.py && python tools/generate.py` then writes the
# tables.
set -euo pipefail
export LC_ALL=C

parts="lists defaults new_images protocol seeds unseen splits grid phase epochs centroids quantizer dividend thresholds"
fashion="--file study/rivals_mini.yml"
mini="--file study/rivals.yml --root data/miniimagenet100_10k --top-k 1000"
corel="--file study/rivals.yml --root data/corel5k_21"
cifar="--file study/rivals.yml"
hidden="--file study/rivals.yml --root data/miniimagenet100_unseen --top-k 1000 --bits 64"
rotated='--loss itq --loss-options {"iterations":0}' # random rotation of the principal components: no search for one

sweep() { counted sweep runs "$@" --direct; }
tune() { counted tune searches "$@"; }

counted() { # a command of relahash, or with --plan the number of runs or searches that it would do
  local command=$1 what=$2
  shift 2
  if [ -z "$plan" ]; then relahash "$command" "$@"; return; fi
  read -r done _ left _ < <(relahash "$command" "$@" --plan | tail -n 1)
  counts[$what]=$((counts[$what] + done + left))
  left_counts[$what]=$((left_counts[$what] + left))
}

other() { if [ -z "$plan" ]; then "$@"; fi; } # what makes neither runs nor searches

lists() { # made of the others: 25 classes apart, and four other splits
  other unseen_lists
  for data in miniimagenet100_10k corel5k_21 cifar10_jpeg; do other python -m study.splits data/$data 1 2 3 4; done
}

unseen_lists() {
  local from=data/miniimagenet100_10k to=data/miniimagenet100_unseen
  mkdir -p $to && cp -rl $from/. $to && rm $to/*.txt
  awk '{for (i = 77; i <= NF; i++) if ($i) next; print}' $from/train.txt > $to/train.txt
  for part in test database; do
    awk '{for (i = 77; i <= NF; i++) if ($i) {print; next}}' $from/$part.txt > $to/$part.txt
  done
}

defaults() {
  for data in "$mini" "$corel" "$cifar" "$fashion"; do sweep $data; done
  for data in "$mini" "$corel" "$cifar"; do sweep $data $rotated; done
}

tuned() { # searches for a target, and the runs with what they found
  for bits in 64 16; do
    for data in "$mini" "$corel" "$cifar"; do
      tune $data --bits $bits --target "$1"
      sweep $data --bits $bits --tuned "results/tuned/$1"
    done
    tune $fashion --bits $bits --target "$1" --trials 16
    sweep $fashion --bits $bits --tuned "results/tuned/$1"
  done
}

new_images() { tuned new_images; }

protocol() { tuned protocol; }

seeds() { # the noise of a search: two more of five losses
  tune $mini --bits 64 --seed 1 2 --loss relahash orthohash csq dpn sdh_c
  for seed in 1 2; do
    sweep $mini --bits 64 --loss relahash orthohash csq dpn sdh_c --tuned results/tuned/new_images-seed$seed
  done
}

unseen() { # classes that were not trained on
  sweep $hidden
  sweep $hidden $rotated
  tune $hidden --target unseen
  sweep $hidden --tuned results/tuned/unseen
}

splits() { # the first split is in `new_images`
  for seed in 1 2 3 4; do
    for data in miniimagenet100_10k corel5k_21 cifar10_jpeg; do
      local options="--file study/rivals.yml --root data/splits/$seed/$data --bits 64 --results-dir results_splits/$seed"
      if [ $data = miniimagenet100_10k ]; then options+=" --top-k 1000"; fi
      sweep $options --tuned results/tuned/new_images
    done
  done
}

grid() { # scale, margin and centroids, the whole network trained
  for centroids in max_hamming hadamard bernoulli; do
    local options="$fashion --bits 64 --seed 0 1 2 --centroids $centroids --results-dir results_grid"
    sweep $options --loss relahash --beta 8 16 32 64 --margin 0 0.025 0.125 0.5
    sweep $options --loss orthohash --beta 1 2 4 8 --margin 0 0.2 1 4
  done
}

phase() { # scale, margin and batch size, on fixed features
  local options="$cifar --bits 64 --seed 0 --results-dir results_phase" beta="4 8 16 32 64"
  sweep $options --loss relahash --beta $beta --margin 0 0.025 0.125 0.5
  sweep $options --loss orthohash --beta 0.5 1 2 4 8 --margin 0 0.2 1 4
  sweep $options --loss relahash --beta $beta --margin 0.5 --batch-size 16 256
  sweep $options --loss relahash --beta $beta --batch-size 16 64 256 --loss-options '{"reference_batch_size": 64}'
}

epochs() { # a score after each epoch
  sweep $cifar --bits 64 --seed 0 --eval-interval 1 --results-dir results_epochs
}

centroids() { # which class gets which code
  local ours=study.reassigned
  for data in "$mini" "$corel" "$hidden"; do
    sweep ${data/rivals/centroids}
    sweep ${data/rivals/centroids} --centroids max_hamming --loss $ours:RelaHash $ours:OrthoHash $ours:DPN
  done
}

quantizer() { # product quantization at equal bytes, by FAISS
  for data in cifar10_jpeg corel5k_21 "miniimagenet100_10k --top-k 1000" "miniimagenet100_unseen --top-k 1000"; do
    other python -m study.quantizer --root data/$data
  done
}

dividend() { # beside the float features; a trial of its searches is one training, scored for all targets
  for network in lite0 lite2; do
    if [ -z "$plan" ]; then python -m study.dividend --network $network; continue; fi
    read -r _ _ trials _ left _ < <(python -m study.dividend --network $network --plan | tail -n 1)
    trials_left=$((trials_left + trials))
    left_counts[runs]=$((left_counts[runs] + left))
  done
}

thresholds() { # one for each bit; the first runs need no download
  local weights=data/weights
  sweep --loss relahash orthohash --seed 0 1 2
  other python -m study.thresholds fashion_mini-64bits-orthohash-seed{0-44af8f4e,1-169cb674,2-93875ccc} \
    fashion_mini-64bits-relahash-seed{0-d65ef115,1-3f269d0e,2-80093580}
  local lists="--dataset lists --root data/cifar10_jpeg"
  sweep $lists --beta 50 --epochs 10 --precision bf16 --weights $weights/alexnet_features_imagenet1k.safetensors
  sweep $lists --recipe laptop --weights $weights/tf_efficientnet_lite0.safetensors \
    --epochs 18 --ema 0.99 --beta 8 --margin 0.5
  sweep $cifar --bits 64 --seed 0 1 2 --loss relahash orthohash dpn csq
  other python -m study.thresholds lists-cifar10_jpeg-64bits-relahash-seed0-{9ecc39bf,d6a5f381,503ddb4a} \
    lists-cifar10_jpeg-64bits-relahash-seed{1-20970619,2-5357d637} \
    lists-cifar10_jpeg-64bits-orthohash-seed{0-bdc6a2b7,1-68491caf,2-105b60a6} \
    lists-cifar10_jpeg-64bits-dpn-seed{0-a192bba5,1-4b323c15,2-1fbe53d1} \
    lists-cifar10_jpeg-64bits-csq-seed{0-5ea8d6c3,1-6bd91701,2-ac1286c0}
}

plan=
declare -A counts left_counts
if [ "${1:-}" = --plan ]; then
  plan=yes
  shift
  [ $# -gt 0 ] || set -- $parts
fi
if [ $# = 0 ] || [ "$1" = --help ]; then
  sed -n '2,16s/^# \{0,1\}//p' "$0"
  exit
fi
for part in "$@"; do
  case " $parts " in
    *" $part "*) ;;
    *) echo "PART: '$part' given; allowed: $parts" >&2; exit 2 ;;
  esac
done
command -v relahash >/dev/null || { echo "no command relahash: make install, then source .venv/bin/activate" >&2; exit 1; }
for part in "$@"; do
  counts=([runs]=0 [searches]=0)
  left_counts=([runs]=0 [searches]=0)
  trials_left=0
  "$part"
  if [ -z "$plan" ]; then continue; fi
  case $part in
    lists | quantizer) line="$part: neither searches nor runs" ;;
    dividend) line="$part: to do: $trials_left trials, at most ${left_counts[runs]} runs" ;;
    *) line="$part: ${counts[searches]} searches, ${counts[runs]} runs; to do: ${left_counts[searches]}, ${left_counts[runs]}" ;;
  esac
  hours=$(python -m study.hours "$part")
  echo "$line${hours:+; published: ${hours#*: }}"
done
