#!/bin/sh
# recordings -> tiles -> a trained tokenizer -> tokens; what sounds in them, what recurs, and a page to look at.
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
# An hour has 1000 rows by chance, so these 42 seconds have twelve: so little sound shows no more.
say "ulmo repeats $here --false-per-hour 1000 --out $out/repeats.csv --picture $out/repeats.png"
ulmo repeats "$here" --false-per-hour 1000 --out "$out/repeats.csv" --picture "$out/repeats.png"
say "ulmo regions $here --out $out/regions.csv --repeats $out/repeats.csv"
ulmo regions "$here" --out "$out/regions.csv" --repeats "$out/repeats.csv"
say "What was found of the events that are known to be there"
python "$here/found.py" "$out/regions.csv" "$out/repeats.csv"
say "Tokens of a recording that was held out of training; one call sounds six times"
python "$here/show.py" "$here/harmonic_calls.wav" "$out/run/tokenizer"
say "ulmo look $here/harmonic_calls.wav --out $out/look.html"
ulmo look "$here/harmonic_calls.wav" --out "$out/look.html"
say "Now look at $out/run/pictures/reconstructions.png and losses.png, and at $out/repeats.png"
say "Open $out/look.html with a browser (a double click does) to see and hear a recording, and its tokens by the tokenizer that ships"
