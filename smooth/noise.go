package smooth

import (
	"fmt"
	"math"
	"math/big"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// mostSigma is the largest standard deviation of noise, in pixel units.
const mostSigma = 4

// Levels is the number of steps between black and white: pixels are k/Levels.
const Levels = 255

// Noise is the normal distribution N(0, σ²) rounded to the grid of 8-bit images, as whole
// numbers of levels: P(v) = Φ((v+½)/s) − Φ((v−½)/s), s = 255σ. It is immutable and safe for
// concurrent use.
//
// A draw is the v whose range [T(v−1), T(v)) holds a number U of 64 random bits, T(v) being
// 2⁶⁴·Φ((v+½)/s), rounded. Sixteen bits of U nearly always tell v; the others are drawn
// where they do not.
type Noise struct {
	sigma net.Epsilon
	reach int      // values are −reach … reach
	upto  []uint64 // T(v) of v = i − reach; the last one, 2⁶⁴, is left out

	// cells has i of the value for each 16 leading bits of U; −1: it takes more bits. It is large:
	// twelve bits of these find i in quick alone, which the L1 cache holds. There i of the least
	// U is followed by the 16 leading bits of T, above which it is i + 1; below 0: there are more than two.
	cells []int16
	quick kernels.NoiseTable

	pixels []float32 // (k − reach)/255, which the network is given of level k
}

// NewNoise prepares noise of standard deviation sigma, in pixel units: above 0, at most 4.
func NewNoise(sigma net.Epsilon) (*Noise, error) {
	if err := checkSigma(sigma); err != nil {
		return nil, err
	}
	n := &Noise{sigma: sigma}
	positive := n.thresholds()
	n.reach = len(positive)
	for i := range positive { // Φ(−x) = 1 − Φ(x)
		n.upto = append(n.upto, -positive[len(positive)-1-i])
	}
	n.upto = append(n.upto, positive...)
	n.fillCells()
	for k := range Levels + 2*n.reach + 1 {
		n.pixels = append(n.pixels, float32(k-n.reach)/Levels)
	}
	return n, nil
}

func checkSigma(sigma net.Epsilon) error {
	if sigma.IsZero() || sigma.Cmp(net.MustEpsilon(fmt.Sprint(mostSigma))) > 0 {
		return fmt.Errorf("sigma: got %s, want a standard deviation in pixel units above 0 and at most %d", sigma, mostSigma)
	}
	return nil
}

// thresholds returns T(0), T(1), … as far as they are below 2⁶⁴ − 1, rounded down.
func (n *Noise) thresholds() (t []uint64) {
	s := n.sigma.Rat()
	s.Mul(s, big.NewRat(2*Levels, 1))
	step := ratio(big.NewRat(1, 1), s)
	for v := int64(0); ; v++ {
		lo, _ := normal(wide().Mul(step, wide().SetInt64(2*v+1)))
		u, _ := lo.SetMantExp(lo, 64).Uint64()
		if u == math.MaxUint64 {
			return t
		}
		t = append(t, u)
	}
}

func (n *Noise) fillCells() {
	n.cells = make([]int16, 1<<16)
	i := 0
	for c := range n.cells {
		first, last := uint64(c)<<48, uint64(c)<<48|(1<<48-1)
		for i < len(n.upto) && n.upto[i] <= first {
			i++
		}
		n.cells[c] = -1
		if i == len(n.upto) || last < n.upto[i] {
			n.cells[c] = int16(i)
		}
	}
	for c := range n.quick {
		from, to := n.search(uint64(c)<<52), n.search(uint64(c)<<52|(1<<52-1))
		end := uint64(math.MaxUint16) // of the last i; where U has that, cells decides
		if from < len(n.upto) {
			end = n.upto[from] >> 48
		}
		if n.quick[c] = math.MinInt32; to-from <= 1 && from <= math.MaxInt16 {
			n.quick[c] = int32(from)<<16 | int32(end)
		}
	}
}

// Sigma returns the standard deviation.
func (n *Noise) Sigma() net.Epsilon { return n.sigma }

// Distance returns an upper bound of the total variation distance between the noise drawn
// for an image of so many pixel values and the exact rounded normal distribution: the
// probability of any event differs by no more.
//
// Each T is off by less than 2⁻⁶⁴·(1 + 2⁻⁵⁰), so the probabilities of the 2·reach+1 values
// are off by at most twice that; what the law has beyond them, on both sides, is less than
// 4·2⁻⁶⁴, for the first T left out is at least 2⁶⁴ − 1. Half the sum of it all is below
// (2·reach+5)·2⁻⁶⁴, and distances of independent values add up.
func (n *Noise) Distance(values int) float64 {
	return float64(values) * float64(2*n.reach+5) * 0x1p-64 * (1 + 0x1p-40)
}

// search returns i of the value for U.
func (n *Noise) search(u uint64) int {
	lo, hi := 0, len(n.upto)
	for lo < hi {
		if mid := (lo + hi) / 2; n.upto[mid] <= u {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// moreBits is the bit of a sample's number that marks the further bits of its values.
const moreBits = 1 << 31

// source says which random numbers an image gets: those of one seed, and of one index of the
// image in its data set. Sample number s of it, below 2³¹, is the same in any batch.
type source struct{ seed, image uint64 }

// value returns the further bits of value at of a sample, and i of the noise.
func (n *Noise) value(r source, sample uint32, at int, top uint32) int {
	a, b, _, _ := kernels.Philox(uint32(at), sample|moreBits, uint32(r.image), uint32(r.image>>32), uint32(r.seed), uint32(r.seed>>32))
	return n.search(uint64(top)<<48 | uint64(a)<<16 | uint64(b>>16))
}

// filler draws noise for one goroutine.
type filler struct {
	isa     *kernels.ISA
	scratch kernels.NoiseScratch
}

// fill writes samples first, first+1, … of an image to so many lanes of one lane group, in
// the layout that networks run on. levels are those of the image, [H][W][C]: value number
// j has the random numbers j of each sample. The other lanes keep what they had.
func (n *Noise) fill(f *filler, dst []float32, levels []int32, r source, first uint32, lanes int) {
	at := 0
	if lanes == kernels.Lanes {
		f.scratch.Seed(uint32(r.seed), uint32(r.seed>>32))
		from := kernels.NoiseSource{Sample: first, Third: uint32(r.image), Fourth: uint32(r.image >> 32)}
		whole := len(levels) &^ (kernels.NoiseBlock - 1)
		for at < whole {
			part := levels[at:min(at+kernels.NoiseBlocks*kernels.NoiseBlock, whole)]
			to := dst[at*kernels.Lanes:][:len(part)*kernels.Lanes]
			from.First = uint32(at / kernels.NoiseBlock)
			f.isa.Noise(&f.scratch, to, part, &n.quick, int32(-n.reach), from, func(k int, top uint32) {
				j := k / kernels.Lanes
				to[k] = n.pixels[int(part[j])+n.slow(r, first+uint32(k%kernels.Lanes), at+j, uint16(top))]
			})
			at += len(part)
		}
	}
	for ; at < len(levels); at += kernels.NoiseBlock {
		part := levels[at:min(at+kernels.NoiseBlock, len(levels))]
		for l := range lanes {
			sample := first + uint32(l)
			var w [kernels.NoiseBlock / 2]uint32
			w[0], w[1], w[2], w[3] = kernels.Philox(uint32(at/kernels.NoiseBlock), sample, uint32(r.image), uint32(r.image>>32), uint32(r.seed), uint32(r.seed>>32))
			for j, level := range part {
				dst[(at+j)*kernels.Lanes+l] = n.pixels[int(level)+n.slow(r, sample, at+j, uint16(w[j/2&3]>>(j%2*16)))]
			}
		}
	}
}

// slow returns i of the noise of a value of a sample, for any leading bits of U.
func (n *Noise) slow(r source, sample uint32, at int, top uint16) int {
	if i := int(n.cells[top]); i >= 0 {
		return i
	}
	return n.value(r, sample, at, uint32(top))
}

// ToLevels writes the levels k of an image with pixels float32(k)/255, which is how readers
// of 8-bit files decode byte k, to dst. Any other pixel is an error: nothing is certified of
// an image that is not of 8 bits.
func ToLevels(dst []int32, x []float32) error {
	for i, v := range x {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("pixel %d is %v, want a value in [0, 1]", i, v)
		}
		k := int32(math.Round(float64(v) * Levels))
		if float32(k)/Levels != v {
			return fmt.Errorf("pixel %d is %v, want k/255 for a whole k: smoothing certifies images of 8 bits alone", i, v)
		}
		dst[i] = k
	}
	return nil
}
