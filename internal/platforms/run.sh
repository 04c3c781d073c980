#!/usr/bin/env bash
# Builds epsball for every promised platform, runs it on those that can be emulated
# here, and compares what it computes, bit by bit, with this machine:
#
#   internal/platforms/run.sh          everything, some minutes
#   internal/platforms/run.sh -quick   runs alone, few items, what is not installed left out
#
# Exit code 0: all equal; 1: a difference or a failed test, named; 2: an emulator is
# missing. The emulators are Debian's: qemu-user-static and nodejs (18 or later).
set -euo pipefail
cd "$(dirname "$0")/../.."

quick=
case "${1-}" in
"") ;;
-quick) quick=-quick ;;
*)
	echo "usage: internal/platforms/run.sh [-quick]" >&2
	exit 2
	;;
esac
built="linux/amd64 linux/arm64 linux/arm linux/riscv64 linux/s390x darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 wasip1/wasm js/wasm"
emulated="linux/arm64 linux/arm linux/riscv64 linux/s390x js/wasm wasip1/wasm"
# Tests worth an emulator: sizes of integers, byte order, files, one thread.
packages="./model ./dataset ./internal/atomicfile ./internal/onnx ./verify/check ./verify/cert ./kernels ./net ./audit"
tests='Guard|Golden|Bits(Views|Weight)|Pool|Philox|Stream|Box|IntervalAdd|Relax$|Sparse|EdgeLengths|SpecialValues'
tests+='|Save|Load|Decode|Encode|Architecture|Read|Write|IDX|NPY|NPZ|CIFAR|PNG|Bombs|KeepsBits|Half|Gzip|Layers|Refus'
tests+='|CheckStops|Overflow|Lines|ParseEps|Epsilon|Margin|Alpha|File|Resume'

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
step() { printf '\n== %s\n' "$*"; }

# qemu NAME: the emulator of a Go architecture.
qemu() {
	case $1 in
	arm64) echo qemu-aarch64-static ;;
	*) echo "qemu-$1-static" ;;
	esac
}

# runner PLATFORM: the command that runs its programs. Node's WASI crashes in fast
# calls (nodejs/node issue 46777).
runner() {
	case $1 in
	linux/*) qemu "${1#*/}" ;;
	js/*) echo "$(go env GOROOT)/lib/wasm/go_js_wasm_exec" ;;
	wasip1/*) echo "node --no-warnings --no-turbo-fast-api-calls $PWD/internal/platforms/wasi.mjs" ;;
	esac
}

# there PLATFORM: is its emulator installed?
there() {
	case $1 in
	linux/*) command -v "$(qemu "${1#*/}")" >/dev/null ;;
	*) command -v node >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] ;;
	esac
}

lacking() { for p in $emulated; do there "$p" || echo "$p"; done; }

missing=$(lacking)
if [ -n "$missing" ] && [ -z "$quick" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		step "install qemu-user-static, nodejs"
		apt-get install -y -q qemu-user-static nodejs >"$tmp/apt" 2>&1 || cat "$tmp/apt" >&2
	fi
	missing=$(lacking)
	if [ -n "$missing" ]; then
		echo "run.sh: no emulator for" $missing >&2
		echo "run.sh: install Debian's packages qemu-user-static and nodejs (18 or later), or run with -quick" >&2
		exit 2
	fi
fi

if [ -z "$quick" ]; then
	step "build and vet, tests included"
	for p in $built; do
		echo "$p"
		GOOS=${p%/*} GOARCH=${p#*/} go build ./...
		GOOS=${p%/*} GOARCH=${p#*/} go vet ./...
	done
fi

step "compute here"
go build -o "$tmp/here" ./internal/platforms
"$tmp/here" $quick >"$tmp/want"
head -1 "$tmp/want"

failed=
# compare NAME FILE: its items with those of this machine.
compare() {
	local difference
	if difference=$(diff <(grep -v '^#' "$tmp/want") <(grep -v '^#' "$2")); then
		echo "$1: $(grep -vc '^#' "$2") items equal ($(head -1 "$2" | cut -c3-))"
		return
	fi
	echo "$1: FAILED, first difference:"
	awk '/^</ { sub(/^</, "  here:"); print; exit }' <<<"$difference"
	awk -v name="$1" '/^>/ { sub(/^>/, "  " name ":"); print; exit }' <<<"$difference"
	[ ! -s "$2.err" ] || sed 's/^/  /' "$2.err" | head -20
	failed=1
}

for isa in $(sed -n 's/^# .* of \(.*\), GOMAXPROCS.*/\1/p' "$tmp/want"); do
	EPSBALL_ISA=$isa "$tmp/here" $quick >"$tmp/$isa" 2>"$tmp/$isa.err" || true
	compare "here, $isa" "$tmp/$isa"
done

# emulate PLATFORM ISA: fingerprints on a platform. Wasm programs take no large
# environment.
emulate() {
	local out="$tmp/${1//\//-}$2"
	# shellcheck disable=SC2046
	env -i PATH="$PATH" HOME="$HOME" ${2:+EPSBALL_ISA=$2} timeout 600 $(runner "$1") "$tmp/${1//\//-}.exe" $quick >"$out" 2>"$out.err" ||
		echo "exit code $?" >>"$out.err"
}

step "compute under emulators"
jobs=()
for p in $emulated; do
	if ! there "$p"; then
		echo "$p: left out, its emulator is not installed"
		continue
	fi
	GOOS=${p%/*} GOARCH=${p#*/} go build -o "$tmp/${p//\//-}.exe" ./internal/platforms
	jobs+=("$p")
	if [ "$p" = linux/arm64 ]; then # which has kernels of its own
		jobs+=("$p generic")
	fi
done
export tmp quick PWD
export -f emulate runner qemu
[ ${#jobs[@]} = 0 ] || printf '%s\n' "${jobs[@]}" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 bash -c 'emulate "$1" "${2-}"' -
for j in "${jobs[@]}"; do
	read -r p isa <<<"$j"
	compare "$p${isa:+, $isa}" "$tmp/${p//\//-}$isa"
done

if [ -z "$quick" ]; then
	step "tests on 32 bits, big-endian, and one thread"
	for p in linux/arm linux/s390x js/wasm wasip1/wasm; do
		echo "$p"
		# shellcheck disable=SC2086
		env -i PATH="$PATH" HOME="$HOME" ${GOCACHE:+GOCACHE="$GOCACHE"} ${GOFLAGS:+GOFLAGS="$GOFLAGS"} \
			GOOS="${p%/*}" GOARCH="${p#*/}" go test -short -run "$tests" -exec "$(runner "$p")" $packages || failed=1
	done
fi

if [ -n "$failed" ]; then
	echo
	echo "run.sh: platforms differ, see above" >&2
	exit 1
fi
