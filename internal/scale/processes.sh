#!/usr/bin/env bash
# Does a job of 16 shards with 1, 2, 4 and 8 processes at once, and prints the time, and processor
# seconds: what processes that share a folder cost each other.
#
#   internal/scale/processes.sh          # EPSBALL=PATH: a program that is there
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
epsball=${EPSBALL:-$dir/epsball}
[ -n "${EPSBALL:-}" ] || go build -o "$epsball" ./cmd/epsball
TIMEFORMAT='%R %U %S'
echo "$(nproc) processors"
for p in 1 2 4 8; do
	JOB=$dir/$p
	"$epsball" shard plan certify --method crown --ladder=false --eps 0.1 --n "${IMAGES:-1600}" --model builtin:mnist-small-ibp-0.1 --job "$JOB" --shards 16 >/dev/null
	{ time seq 0 15 | xargs -P "$p" -I{} "$epsball" shard run --threads 1 --job "$JOB" --index {} >/dev/null; } 2>&1 |
		awk -v p="$p" '{ printf "%d processes: %.1f s, %.1f s of processors, %.2f of them busy\n", p, $1, $2 + $3, ($2 + $3) / $1 }'
	"$epsball" shard merge --recheck 0 --job "$JOB" --out "$dir/$p.jsonl" >/dev/null
	cmp "$dir/1.jsonl" "$dir/$p.jsonl"
done
