#!/usr/bin/env bash
# Validates the manifests of deploy/k8s by the schemas of Kubernetes, and runs the pods of the Job
# as processes, many of which are killed (pods.py). What is merged must be one machine's bytes.
#
#   internal/scale/pods.sh               # EPSBALL=PATH: a program that is there
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check kubernetes-validate # with PyYAML
"$dir/venv/bin/kubernetes-validate" --strict deploy/k8s/*.yaml
epsball=${EPSBALL:-$dir/epsball}
[ -n "${EPSBALL:-}" ] || CGO_ENABLED=0 go build -trimpath -o "$epsball" ./cmd/epsball
what=(certify --model builtin:mnist-small-ibp-0.1 --eps 0.1 --n "${IMAGES:-2000}")
"$epsball" shard plan "${what[@]}" --job "$dir/job" --shards 20 >/dev/null
"$dir/venv/bin/python" internal/scale/pods.py "$epsball" deploy/k8s/job.yaml deploy/k8s/merge.yaml "$dir/job" "${SEED:-1}"
"$epsball" "${what[@]}" --out "$dir/one.jsonl" >/dev/null
cmp "$dir/job/certs.jsonl" "$dir/one.jsonl"
echo "the same bytes as one machine's"
