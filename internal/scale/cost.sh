#!/usr/bin/env bash
# What an image costs, in processor seconds, by network and method, and what data sets then take:
# the table of docs/scale.md. What a process takes to start and load is taken off.
#
#   internal/scale/cost.sh               # EPSBALL=PATH: a program that is there
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
epsball=${EPSBALL:-$dir/epsball}
[ -n "${EPSBALL:-}" ] || go build -o "$epsball" ./cmd/epsball
times=${TIMES:-1} # as many images
TIMEFORMAT='%U %S'
seconds() { { time "$epsball" "$@" --threads 1 >/dev/null 2>&1; } 2>&1 | awk '{ print $1 + $2 }'; }
printf '%-13s %-30s %11s %12s %12s %12s\n' network method 's an image' '10,000' '50,000' '1,281,167'
row() { # name, images, what
	local name=$1 n=$(($2 * times)) few all
	shift 2
	few=$(seconds "$@" "${on[@]}" --n 1)
	all=$(seconds "$@" "${on[@]}" --n $((n + 1)))
	awk -v m="$name" -v w="$*" -v t="$few $all" -v n="$n" 'BEGIN {
		split(t, s); x = (s[2] - s[1]) / n
		gsub("--ladder=false ?|--checks off |--attack |--method |--eps [^ ]+ |--timeout 0", "", w)
		printf "%-13s %-30s %11.2g %10.2g h %10.2g h %10.2g h\n", m, w, x, x * 1e4 / 3600, x * 5e4 / 3600, x * 1281167 / 3600
	}'
}
rows() { # name, ε, and images of each method
	row "$1" "$3" certify --eps "$2" --method ibp
	row "$1" "$4" certify --eps "$2" --method crown-ibp --ladder=false
	row "$1" "$5" certify --eps "$2" --method crown --ladder=false
	row "$1" "$6" certify --eps "$2" --method alpha-crown --ladder=false
	row "$1" "$7" attack --eps "$2" --checks off --attack pgd:steps=40
	row "$1" "$8" smooth --sigma 0.5 --samples 10000
}
on=(--model builtin:mnist-small-ibp-0.1)
rows mnist-small 0.1 1000 50 10 3 50 1
on=(--model zoo/more/mnist-medium-mtl-ibp-0.1.safetensors)
rows mnist-medium 0.1 200 10 3 1 10 1
if [ -n "${CIFAR:-}" ]; then # CIFAR-10: a folder, or a file of a batch
	on=(--model zoo/more/cifar-small-mtl-ibp-2-255.safetensors --data "$CIFAR")
	rows cifar-small 2/255 500 20 5 2 20 1
fi
