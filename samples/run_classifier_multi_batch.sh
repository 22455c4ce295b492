#!/bin/sh
# Classify a picture. MODEL_PATH: folder of the models. Arguments (all optional): model, picture,
# labels, then options of the program.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=${1:-${MODEL_PATH:-.}/mobilenet_v2_bs1_bs4.cvimodel}
image=${2:-$here/data/cat.jpg}
labels=${3:-$here/data/synset_words.txt}
if [ $# -gt 3 ]; then shift 3; else set --; fi
exec "$here/bin/cvi_sample_classifier_multi_batch" "$model" "$image" "$labels" "$@"
