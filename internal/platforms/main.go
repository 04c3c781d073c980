// Command platforms prints fingerprints of what epsball computes: a line for each
// item with the SHA-256 of its bits. The lines must be the same on every platform and
// kernel set; run.sh beside it runs the program under emulators and compares.
//
// Lines that begin with # say where it ran.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"math"
	"os"
	"runtime"
	"strings"

	"github.com/epsball/epsball/kernels"
)

func main() {
	quick := flag.Bool("quick", false, "the items that take a second under an emulator")
	flag.Parse()
	out := bufio.NewWriter(os.Stdout)
	var sets []string
	for _, i := range kernels.Available() {
		sets = append(sets, i.Name())
	}
	fmt.Fprintf(out, "# %s/%s, kernels %s of %s, GOMAXPROCS %d\n", runtime.GOOS, runtime.GOARCH, kernels.Default().Name(),
		strings.Join(sets, " "), runtime.GOMAXPROCS(0))
	out.Flush()
	for _, i := range items {
		if *quick && !i.quick {
			continue
		}
		p := printer{h: sha256.New()}
		if err := i.run(&p); err != nil {
			out.Flush()
			fmt.Fprintf(os.Stderr, "platforms: %s: %v\n", i.name, err)
			os.Exit(1)
		}
		fmt.Fprintf(out, "%-28s %s  %s\n", i.name, hex.EncodeToString(p.h.Sum(nil)[:12]), p.note)
		out.Flush()
	}
}

// item is something to compute.
type item struct {
	name  string
	quick bool
	run   func(p *printer) error
}

// printer takes the bits of results, in a byte order of its own.
type printer struct {
	h    hash.Hash
	note string // for people, and compared too
}

func (p *printer) bytes(b []byte) {
	p.int(len(b))
	p.h.Write(b)
}

func (p *printer) text(s string) { p.bytes([]byte(s)) }

func (p *printer) int(v int) { p.word(uint64(int64(v))) }

func (p *printer) word(v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	p.h.Write(b[:])
}

func (p *printer) floats(s []float32) {
	p.int(len(s))
	for _, v := range s {
		if v != v {
			v = float32(math.NaN()) // payloads are the hardware's
		}
		p.word(uint64(math.Float32bits(v)))
	}
}

func (p *printer) float64(v float64) { p.word(math.Float64bits(v)) }

func (p *printer) bools(s []bool) (set int) {
	for _, v := range s {
		if v {
			set++
			p.int(1)
		} else {
			p.int(0)
		}
	}
	return set
}
