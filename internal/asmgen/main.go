// Command asmgen writes the assembly of package asm: one description of each
// kernel (conv.go, joined.go, small.go, grad.go, winograd.go, elementwise.go, relax.go, planes.go,
// sparse.go, taps.go, activation.go, limits.go, noise.go), one target for each ISA (avx2.go,
// avx512.go, neon.go). Its test is the drift check: the files in asm must be what it
// prints.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

func main() {
	dir := flag.String("dir", ".", "folder of package asm")
	counts := flag.Bool("counts", false, "print what the kernels' inner loops consist of, and write nothing")
	flag.Parse()
	if *counts {
		printCounts(os.Stdout, generate())
		return
	}
	for _, f := range generate() {
		if err := os.WriteFile(filepath.Join(*dir, f.name), f.data, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "asmgen:", err)
			os.Exit(1)
		}
	}
}

type file struct {
	name string
	data []byte
}

// generate returns every generated file: for each ISA one .s file a family of
// kernels, and one Go file of stubs.
func generate() []file {
	var files []file
	for _, newTarget := range []func() target{
		func() target { return newAVX2() },
		func() target { return newAVX512() },
		func() target { return newNEON() },
	} {
		var stubs []stub
		isa, suffix := "", ""
		for _, fam := range families {
			t := newTarget()
			if _, x86 := t.(*avx2); t.span() > 1 && !fam.pairs || fam.amd64 && !x86 {
				continue
			}
			isa, suffix = t.isa(), t.suffix()
			fam.emit(t)
			if first, ok := t.(twice); ok {
				t = first.again()
				fam.emit(t)
			}
			files = append(files, file{fmt.Sprintf("%s_%s.s", fam.name, suffix), t.source()})
			stubs = append(stubs, t.stubs()...)
		}
		sort.Slice(stubs, func(i, j int) bool { return stubs[i].name < stubs[j].name })
		files = append(files, file{"stubs_" + suffix + ".go", stubFile(isa, stubs)})
	}
	return files
}

// twice is a target that must see its kernels before it can write them.
type twice interface{ again() target }

// families are the kernel descriptions, one generated file each. Those without
// pairs are left out where a register holds two lane vectors: kernels of the
// narrower set do.
var families = []struct {
	name  string
	emit  func(target)
	pairs bool
	amd64 bool // of AVX2 alone
}{
	{"conv", emitConv, true, false},
	{"small", emitSmall, false, false},
	{"small16", emitSmall16, false, false},
	{"grad", emitGrad, true, false},
	{"winograd", emitWinograd, false, false},
	{"elementwise", emitElementwise, false, false},
	{"relax", emitRelax, false, false},
	{"sparse", emitSparse, true, false},
	{"taps", emitTaps, false, false},
	{"activation", emitActivation, false, false},
	{"lines", emitLines, false, false},
	{"limits", emitLimits, true, false},
	{"noise", emitNoise, false, true},
}
