package kernels

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// ISA is one set of kernels. All sets give the same bits.
type ISA struct {
	name                    string
	conv                    [tileChannels + 1]convSet                 // by channels
	joined                  *joinedSet                                // nil: none
	convPair                func(*asm.ConvArgs)                       // one pixel, two tiles of channels
	small, both             [asm.MaxPixels + 1][5]func(*asm.ConvArgs) // by pixels, vectors
	small16, both16         [2]smallSet                               // the same for BFloat16 and Float16 weights; empty: none
	winogradIn, winogradOut func(*asm.WinogradArgs)

	pgdStep     func(x, g, lo, hi unsafe.Pointer, n int, alpha float32)
	selectMask  func(dst, src, mask unsafe.Pointer, n int)
	affine      func(c, r unsafe.Pointer, n int, a *asm.IntervalArgs)
	box         func(c, r unsafe.Pointer, n int, a *asm.IntervalArgs)
	gatherLanes func(dst, src unsafe.Pointer, n int, offset *[8]int, sign *[16]uint32)
	relax       func(*asm.RelaxArgs)
	relaxLanes  func(*asm.RelaxArgs)
	relaxEach   func(*asm.RelaxArgs)
	climbSlopes func(*asm.ClimbArgs)
	boxEnd      func(dst, x unsafe.Pointer, n int, e1, e2, doubt float32, up uint32)
	pause       func(n int)
	adamStep    func(w, g, m, v unsafe.Pointer, n int, a *asm.AdamArgs)
	transpose4  func(dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32)
	dealRows    func(dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32)
	gatherRows  func(dst, src unsafe.Pointer, rowStride, n int)
	add         func(dst, src unsafe.Pointer, n int, relu uint32)
	addGate     func(dst, src, gate unsafe.Pointer, n int)
	boxAdd      func(c, r, sc, sr unsafe.Pointer, n int, a *asm.IntervalArgs)
	peakFMA     func(n int)
	readMemory  func(p unsafe.Pointer, n, reps int)
	sparse      [asm.SparseGroups + 1]func(*asm.SparseArgs) // by groups
}

// Name returns the name users give: "generic", "avx2", "avx512", "neon".
func (i *ISA) Name() string { return i.name }

// convSet are conv kernels by pixels, and the choice among them. (Sets are written out where
// they are used: those that take a part from a variable are filled in when a program starts,
// which takes 4 KB of it.)
type convSet struct {
	at     [asm.MaxPixels + 1]func(*asm.ConvArgs)
	pixels []int
}

// next returns how many pixels the next call of a kernel computes when left are left:
// entry left of the list, or its last one. Where it is more than left, the last pixel is
// computed several times.
func (s *convSet) next(left int) int { return s.pixels[min(left, len(s.pixels)-1)] }

// most is next where many are left.
func (s *convSet) most() int { return s.pixels[len(s.pixels)-1] }

// The choice among the tiles that fit sixteen registers: of four pixels, two
// pairs beat three and one.
var (
	narrowPixels  = [tileChannels + 1][]int{4: {0, 1, 2, 3, 2, 3}, 3: {4}, 2: {6}, 1: {8}}
	narrowWeights = [tileChannels + 1][]int{4: {3, 2, 1}, 3: {3, 2, 1}, 2: {3, 2, 1}, 1: {3, 2, 1}}
)

// MostTileGroups is the largest TileGroups.
const MostTileGroups = 4

// TileGroups is the number of lane groups that one worker should take through a network at a time:
// enough to fill the tiles of FC layers, three pixels or two pairs of groups, and few enough for
// the caches.
func (i *ISA) TileGroups() int {
	if i.joined != nil {
		return MostTileGroups
	}
	return 3
}

// EnvISA is the environment variable that forces a kernel set.
const EnvISA = "EPSBALL_ISA"

// Available returns the kernel sets this machine can run, the best one first;
// the generic one is always there.
func Available() []*ISA { return available }

// Default returns what Choose returns for an empty name, and the best set where
// that is an error.
func Default() *ISA {
	i, err := Choose("")
	if err != nil {
		return available[0]
	}
	return i
}

// Choose returns the kernel set of the given name; for an empty name that of
// EPSBALL_ISA, or the best available.
func Choose(name string) (*ISA, error) {
	source := "isa"
	if name == "" {
		name, source = os.Getenv(EnvISA), EnvISA
	}
	if name == "" || name == "auto" {
		return available[0], nil
	}
	var names []string
	for _, i := range available {
		if i.name == name {
			return i, nil
		}
		names = append(names, i.name)
	}
	return nil, fmt.Errorf("%s %q: this machine can run %s", source, name, strings.Join(names, ", "))
}

// Scratch holds the arguments of kernel calls in heap memory: one for each
// goroutine, so that calls allocate nothing.
type Scratch struct {
	conv     asm.ConvArgs
	grad     asm.GradArgs
	interval asm.IntervalArgs
	adam     asm.AdamArgs
	relax    asm.RelaxArgs
	climb    asm.ClimbArgs
	planes   asm.PlanesArgs
	lines    asm.LinesArgs
	sparse   asm.SparseArgs
	taps     asm.TapsArgs
	tap      [1]asm.Tap
	mask     [Lanes]uint32
	offset   [Lanes]int
	signs    [2 * Lanes]uint32

	sums      []float32 // of WeightGrad
	copied    []float32 // of its input
	room      []float32 // callers'
	joined    []float32 // inputs of two lane groups
	wino      asm.WinogradArgs
	v, m, tmp []float32 // of Winograd
}
