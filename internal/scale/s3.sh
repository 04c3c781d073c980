#!/usr/bin/env bash
# Runs a job of shards in a bucket of a real server that speaks the protocol of S3, versitygw,
# which it builds from its Go module (some minutes). Workers are killed and started again until
# all is published; two of each shard run at once. What is merged must be one machine's bytes.
#
#   internal/scale/s3.sh                 # EPSBALL=PATH, VERSITYGW=PATH: programs that are there
set -euo pipefail
cd "$(dirname "$0")/../.."
images=${IMAGES:-2000} size=${SIZE:-250}
shards=$(((images + size - 1) / size))
dir=$(mktemp -d /tmp/epsball-s3-XXXXXX)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT

gateway=${VERSITYGW:-$dir/versitygw}
[ -n "${VERSITYGW:-}" ] || GOBIN=$dir go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
epsball=${EPSBALL:-$dir/epsball}
[ -n "${EPSBALL:-}" ] || go build -o "$epsball" ./cmd/epsball

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=secret-of-a-test AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:17070
export TMPDIR=$dir
mkdir -p "$dir/buckets/test" # a bucket of its posix backend is a folder
"$gateway" --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --port 127.0.0.1:17070 posix "$dir/buckets" >"$dir/log" 2>&1 &
server=$!
sleep 3

EPSBALL_S3=s3://test go test -count=1 ./jobs/s3 -run Server -v

job=s3://test/job
what=(certify --model builtin:mnist-small-ibp-0.1 --eps 0.1 --n "$images")
"$epsball" shard plan "${what[@]}" --job "$job" --size "$size"
killed=0
worker() { "$epsball" shard run --threads 1 --job "$job" --index "$1" >>"$dir/out-$1" 2>&1; }
for ((i = 0; i < shards; i++)); do
	for try in $(seq 50); do
		worker "$i" & a=$!
		worker "$i" & b=$!
		sleep "0.$((RANDOM % 9 + 1))"
		[ "$try" -gt 3 ] || { kill -9 $a $b 2>/dev/null && killed=$((killed + 1)); }
		wait $a && wait $b && break || true
	done
done
"$epsball" shard status --job "$job"
"$epsball" shard merge --job "$job" --out "$dir/merged.jsonl"
"$epsball" "${what[@]}" --out "$dir/one.jsonl" >/dev/null
cmp "$dir/merged.jsonl" "$dir/one.jsonl"
echo "$shards shards, $killed pairs of workers killed, $(cat "$dir"/out-* | grep -c 'published it first' || true) late; the same bytes as one machine's"

# The data set in the bucket, too: a shard reads the bytes of its own images.
for kind in images-idx3 labels-idx1; do
	gunzip -c "testdata/mnist/train-$kind-ubyte.gz" >"$dir/buckets/test/train-$kind-ubyte"
done
what=(certify --model builtin:mnist-small-ibp-0.1 --eps 0.1 --data testdata/mnist#train --offset 50000 --n 1000)
"$epsball" shard plan "${what[@]}" --job "$dir/job" --size 250
for i in 0 1 2 3; do
	"$epsball" shard run --job "$dir/job" --index $i --data s3://test/train-images-idx3-ubyte
done
"$epsball" shard merge --job "$dir/job" --data s3://test/train-images-idx3-ubyte --out "$dir/merged.jsonl" --force
"$epsball" "${what[@]}" --out "$dir/one.jsonl" --force >/dev/null
cmp "$dir/merged.jsonl" "$dir/one.jsonl"
echo "images from the bucket: the same bytes as one machine's with files"
