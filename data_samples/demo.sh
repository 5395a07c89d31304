#!/bin/sh
# recordings -> tiles -> a trained tokenizer -> tokens, on the recordings of this folder.
#     sh demo.sh [OUT_DIR]
set -eu
out=${1:-demo_out}
here=$(dirname "$0")

say() { printf '\n== %s\n' "$*"; }

rm -rf "$out"
say "ulmo-prep $here $out/tiles --overlap 192"
ulmo-prep "$here" "$out/tiles" --overlap 192
say "ulmo-train $out/tiles $out/run --epochs 40 --patience 40 --seed 4"
ulmo-train "$out/tiles" "$out/run" --epochs 40 --patience 40 --seed 4
say "ulmo eval $out/run $out/tiles"
ulmo eval "$out/run" "$out/tiles"
say "ulmo inspect $out/run/tokenizer"
ulmo inspect "$out/run/tokenizer"
say "ulmo-tokenize $here --tokenizer $out/run/tokenizer --out-dir $out/tokenized"
ulmo-tokenize "$here" --tokenizer "$out/run/tokenizer" --out-dir "$out/tokenized"
say "ulmo convert $out/tokenized --format raven --min-columns 3 --out $out/labels"
ulmo convert "$out/tokenized" --format raven --min-columns 3 --out "$out/labels"
say "Tokens of a recording that was held out of training; one call sounds six times"
python "$here/show.py" "$here/harmonic_calls.wav" "$out/run/tokenizer"
say "Now look at $out/run/pictures/reconstructions.png and losses.png"
