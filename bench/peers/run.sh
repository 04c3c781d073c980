#!/usr/bin/env bash
# Measures epsball against its peers and prints the tables of bench/results.md.
#
#   bench/peers/run.sh [--venv DIR] [--quick] [--only TEXT] [--compile] [--json FILE]
#   bench/peers/run.sh --edge [--venv DIR] [options of epsball bench --edge]
#   bench/peers/run.sh attacks [--venv DIR] [options of attacks.py]
#
# Needs Go, Python 3.10 or newer and a network: the peers are installed from
# PyPI, in their current versions, into a throw-away environment. --venv keeps
# it in DIR and uses it again. The other options are compare.py's. --edge measures
# single images against the runtimes of small devices (docs/benchmarks.md), which take
# 300 MB instead of gigabytes: an environment of its own. attacks compares strength
# and time of attacks with the attack libraries; --list names its rows.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=$scratch/venv
edge=
attacks=
arguments=()
while [ $# -gt 0 ]; do
	case $1 in
	--venv)
		venv=$2
		shift
		;;
	--edge) edge=1 ;;
	attacks) attacks=1 ;;
	*) arguments+=("$1") ;;
	esac
	shift
done

pip() { "$venv/bin/python" -m pip --disable-pip-version-check -q "$@" >&2; }

if [ -n "$edge" ]; then
	if [ ! -e "$venv/complete-edge" ]; then
		echo "installing the runtimes into $venv" >&2
		python3 -m venv "$venv"
		pip install numpy onnx onnxruntime
		for runtime in ncnn "ai-edge-litert flatbuffers"; do # not for every platform
			# shellcheck disable=SC2086 # words
			pip install $runtime || echo "not to be had: $runtime" >&2
		done
		touch "$venv/complete-edge"
	fi
	(cd "$root" && go build -o "$scratch/epsball" ./cmd/epsball)
	"$scratch/epsball" bench --edge --peers "$venv/bin/python" ${arguments[@]+"${arguments[@]}"}
	exit
fi

if [ ! -e "$venv/complete" ]; then
	echo "installing the peers into $venv" >&2
	python3 -m venv "$venv"
	pip install torch onnx onnxruntime torchattacks foolbox numpy safetensors
	# auto_LiRPA's release pins an old PyTorch. Without its pins, lirpa.py makes
	# it run on the current one (pip warns of the conflict). The other two are
	# what it imports.
	pip install --no-deps auto_LiRPA
	pip install appdirs pyyaml
	touch "$venv/complete"
fi
if [ -n "$attacks" ] && [ ! -e "$venv/complete-attacks" ]; then
	pip install pyautoattack scipy tqdm requests
	# Without its torchvision and visdom, see attack_peers.py.
	pip install --no-deps adv-lib
	touch "$venv/complete-attacks"
fi

# Memory that PyTorch frees stays with the process: otherwise each large tensor
# is mapped and faulted in anew.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864

# Thread counts are compare.py's business, how OpenMP waits is best left alone.
unset OMP_NUM_THREADS MKL_NUM_THREADS GOMP_SPINCOUNT OMP_WAIT_POLICY

export PYTHONDONTWRITEBYTECODE=1
if [ -n "$attacks" ]; then
	(cd "$root" && go build -o "$scratch/epsball" ./cmd/epsball)
	"$venv/bin/python" -W ignore "$root/bench/peers/attacks.py" \
		--epsball "$scratch/epsball" ${arguments[@]+"${arguments[@]}"}
	exit
fi

(cd "$root" && go build -o "$scratch/worker" ./bench/peers/worker)
"$venv/bin/python" -W ignore "$root/bench/peers/compare.py" \
	--worker "$scratch/worker" ${arguments[@]+"${arguments[@]}"}
