#!/usr/bin/env bash
# What separates our scores on CIFAR-10 from the published ones, part by part:
#
#     bash study/paper.sh PART ...            # lists jpeg fc lite2 laptop
#     bash study/paper.sh --plan PART ...     # only says which runs are there, and which are to be made
#
# From the repository's root, after `make install` and `source .venv/bin/activate`. All parts need data/cifar10_jpeg in
# list format; `lists` and `jpeg` also data/cifar10_lossless_4000 (4,000 of its images as PNG files, and in `jpeg_lists/`
# the same lists with their names there); `fc` data/miniimagenet100_10k; and data/weights/ the weights that they name.
# What is there is not run again. `python tools/publish.py && python tools/generate.py` then writes the tables.
set -euo pipefail
export LC_ALL=C

plan=
if [ "${1:-}" = --plan ]; then
  plan=--plan
  shift
fi

parts="lists jpeg fc lite2 laptop"
weights=data/weights
alexnet="relahash sweep $plan --direct --dataset lists --beta 50 --epochs 10 --precision bf16 --threads 1"
lite0="relahash sweep $plan --direct --dataset lists --recipe laptop --weights $weights/tf_efficientnet_lite0.safetensors --threads 1"
lite2="relahash sweep $plan --direct --dataset lists --recipe laptop --threads 1
  --backbone tf_efficientnet_lite2 --weights $weights/tf_efficientnet_lite2.safetensors"
small="--results-dir results_jpeg --root data/cifar10_jpeg_4000"
pair="$small data/cifar10_lossless_4000"

lists() { # the 4,000 images by their JPEG files, as a root of their own
  [ -z "$plan" ] || return 0
  local to=data/cifar10_jpeg_4000
  mkdir $to && cp data/cifar10_lossless_4000/jpeg_lists/*.txt $to
  cut -d " " -f 1 $to/*.txt | sort -u | (cd data/cifar10_jpeg && xargs cp -l --parents -t ../cifar10_jpeg_4000)
}

jpeg() { # what JPEG costs: the same images without it and with it
  $alexnet $pair --weights $weights/alexnet_features_imagenet1k.safetensors --seed 0 1 2
  $lite0 $pair --epochs 6 --seed 0 1 2
}

fc() { # what fc6 and fc7 gain from a pretraining of our own
  local file=$weights/alexnet_distilled.safetensors
  [ -n "$plan" ] || [ -s $file ] || python -m study.pretrain_fc
  $alexnet $small --weights $file
  $alexnet --root data/cifar10_jpeg --weights $file
}

lite2() { # what each part of `laptop` gives, with a larger network, on the 4,000 images
  $lite2 $small --epochs 6 --image-size 128 160 192
  $lite2 $small --epochs 12 --ema 0 0.99
  $lite2 $small --epochs 6 --augment flip
  $lite2 $small --epochs 6 --backbone-lr-scale 1
  $lite2 $pair --epochs 16
}

laptop() { # the larger network on all images
  $lite2 --root data/cifar10_jpeg --epochs 16
}

if [ $# = 0 ] || [ "$1" = --help ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0"
  exit
fi
for part in "$@"; do
  case " $parts " in
    *" $part "*) ;;
    *) echo "PART: '$part' given; allowed: $parts" >&2; exit 2 ;;
  esac
done
command -v relahash >/dev/null || { echo "no command relahash: make install, then source .venv/bin/activate" >&2; exit 1; }
for part in "$@"; do "$part"; done
