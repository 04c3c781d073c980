#!/usr/bin/env bash
# Runs the tests of the kernels and of what stands on them for arm64, under qemu: every
# NEON kernel against pure Go, golden vectors, gradients, bounds, the seeds of the fuzz
# tests and the keystone.
#
#   internal/platforms/arm64.sh          all short tests, twenty minutes
#   internal/platforms/arm64.sh -quick   small shapes, half a minute
#
# Exit code 1: a test failed; 2: no emulator. Under -quick a missing one is no failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

quick=
case "${1-}" in
"") ;;
-quick) quick=1 ;;
*)
	echo "usage: internal/platforms/arm64.sh [-quick]" >&2
	exit 2
	;;
esac

qemu=
if [ "$(go env GOHOSTARCH)" != arm64 ]; then
	qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
	if [ -z "$qemu" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get install -y -q qemu-user-static >&2 || true
		qemu=$(command -v qemu-aarch64-static || true)
	fi
	if [ -z "$qemu" ]; then
		echo "arm64.sh: no emulator: install Debian's package qemu-user-static" >&2
		[ -n "$quick" ] && exit 0
		exit 2
	fi
fi

export GOARCH=arm64 EPSBALL_EXPECT_ISA=neon,generic
run() { go test -short -timeout 40m ${qemu:+-exec "$qemu"} "$@"; }

if [ -z "$quick" ]; then
	run ./asm ./kernels ./model ./net ./attack ./verify ./audit ./train .
	exit
fi
run -skip 'SmallMeaning|LinearMeaning|WeightGradBlocks|FMA32Exact|Windowed$|Winograd|Sparse|Small16Meaning|AllPatterns|DoesNotAllocate' ./kernels
run -run 'Golden|RandomGraphs|Boxes|Views|BitsWeightGradient|Stored' ./net
run -run 'PlantedUnsound|Soundness|RandomGraphs|ISAs|WindowsAreDense|TightRadius' ./verify
run -run 'FuzzKeystone|Contradictions' ./audit
