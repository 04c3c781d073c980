#!/usr/bin/env bash
# What a shard costs besides its work: processor seconds of `shard run` with one image, which
# intervals prove in a millisecond.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
epsball=${EPSBALL:-$dir/epsball}
[ -n "${EPSBALL:-}" ] || go build -o "$epsball" ./cmd/epsball
TIMEFORMAT='%U %S'
for model in mnist-small-ibp-0.1; do
	"$epsball" shard plan certify --job "$dir/$model" --model "builtin:$model" --eps 0.1 --size 1 --n 10 >/dev/null
	for i in $(seq 0 9); do
		{ time "$epsball" shard run --threads 1 --job "$dir/$model" --index "$i" >/dev/null; } 2>&1
	done | awk -v m="$model" '{ t += $1 + $2 } END { printf "%s: %.2f s a shard, %.1f %% of half a minute\n", m, t / NR, t / NR / 0.3 }'
done
