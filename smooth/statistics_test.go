package smooth

import (
	"fmt"
	"math"
	"math/big"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// exactTail is P(X ≥ k) for X binomial(n, p), as a fraction.
func exactTail(k, n int, p *big.Rat) *big.Rat {
	sum, q := new(big.Rat), new(big.Rat).Sub(big.NewRat(1, 1), p)
	power := func(b *big.Rat, e int) *big.Rat {
		num := new(big.Int).Exp(b.Num(), big.NewInt(int64(e)), nil)
		return new(big.Rat).SetFrac(num, new(big.Int).Exp(b.Denom(), big.NewInt(int64(e)), nil))
	}
	for j := k; j <= n; j++ {
		t := new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(j)))
		t.Mul(t, power(p, j))
		sum.Add(sum, t.Mul(t, power(q, n-j)))
	}
	return sum
}

// TestLowerExact: the tail at each limit is at most α in exact arithmetic, and just above it
// is not. That of Upper is its mirror image.
func TestLowerExact(t *testing.T) {
	for _, n := range []int{1, 2, 7, 20} {
		for k := range n + 1 {
			for _, alpha := range []float64{0.5, 0.05, 0.001, 1e-9} {
				l, err := Lower(k, n, alpha)
				require.NoError(t, err)
				u, err := Upper(n-k, n, alpha)
				require.NoError(t, err)
				require.InDelta(t, 1-l, u, 1e-15)
				require.GreaterOrEqual(t, new(big.Rat).SetFloat64(u).Cmp(new(big.Rat).Sub(big.NewRat(1, 1), new(big.Rat).SetFloat64(l))), 0)
				if k == 0 {
					require.Zero(t, l)
					continue
				}
				a := new(big.Rat).SetFloat64(alpha)
				require.LessOrEqual(t, exactTail(k, n, new(big.Rat).SetFloat64(l)).Cmp(a), 0, "%d of %d at %v", k, n, alpha)
				require.Positive(t, exactTail(k, n, new(big.Rat).SetFloat64(l*(1+1e-9))).Cmp(a), "%d of %d at %v: %v is loose", k, n, alpha, l)
			}
		}
	}
}

// TestLowerOfMany: as many trials as certification takes, against all terms of the tail in
// 400 bits.
func TestLowerOfMany(t *testing.T) {
	const n, alpha = 10_000, 0.001
	for _, k := range []int{1, 17, 5100, 9900, 9999, n} {
		l, err := Lower(k, n, alpha)
		require.NoError(t, err)
		at := func(p float64) float64 {
			f := func() *big.Float { return new(big.Float).SetPrec(400) }
			q := f().Sub(f().SetInt64(1), f().SetFloat64(p))
			odds := f().Quo(f().SetFloat64(p), q)
			term, sum := f().SetInt64(1), f() // from (1 − p)ⁿ
			for range n {
				term.Mul(term, q)
			}
			for j := range n + 1 {
				if j >= k {
					sum.Add(sum, term)
				}
				term.Mul(term, odds)
				term.Mul(term, f().SetInt64(int64(n-j)))
				term.Quo(term, f().SetInt64(int64(j+1)))
			}
			v, _ := sum.Float64()
			return v
		}
		assert.LessOrEqual(t, at(l), alpha, "k = %d", k)
		assert.InEpsilon(t, alpha, at(l), 1e-6, "k = %d", k)
	}
	l, err := Lower(100_000, 100_000, alpha)
	require.NoError(t, err)
	assert.InEpsilon(t, math.Pow(alpha, 1e-5), l, 1e-14, "all of 100,000: α = pⁿ")
	_, err = Lower(5, 4, 0.1)
	require.ErrorContains(t, err, "successes: got 5, want 0 … 4")
	_, err = Lower(1, 0, 0.1)
	require.ErrorContains(t, err, "trials: got 0")
	for _, bad := range []float64{0, -1, 0.6, math.NaN()} {
		_, err = Lower(1, 2, bad)
		require.ErrorContains(t, err, "alpha: got")
		_, err = Sequence{bad}.Lower(1, 2)
		require.ErrorContains(t, err, "alpha: got")
	}
}

// TestLowerCovers: for each p, the probability of a limit above p, summed up over all
// outcomes, is at most α, and near it for some p.
func TestLowerCovers(t *testing.T) {
	const n, alpha = 60, 0.05
	worst := 0.0
	limits := make([]float64, n+1)
	for k := range limits {
		var err error
		limits[k], err = Lower(k, n, alpha)
		require.NoError(t, err)
	}
	for i := 1; i < 400; i++ {
		p, wrong, mass := float64(i)/400, 0.0, math.Pow(1-float64(i)/400, n)
		for k, l := range limits {
			if l > p {
				wrong += mass
			}
			mass *= p / (1 - p) * float64(n-k) / float64(k+1)
		}
		require.LessOrEqual(t, wrong, alpha+1e-12, "p = %v", p)
		worst = max(worst, wrong)
	}
	assert.Greater(t, worst, 0.8*alpha)
}

func trials(t *testing.T, usual int) int {
	if v := os.Getenv("EPSBALL_TRIALS"); v != "" {
		n, err := strconv.Atoi(v)
		require.NoError(t, err)
		return n
	}
	return usual
}

// walk looks at trials of one event until stop says so, n at most, and returns whether it did.
func walk(s *kernels.Stream, p float64, n int, next func(n int) int, stop func(k, n int) bool) bool {
	k := 0
	for i := 0; i < n; {
		for to := min(next(i), n); i < to; i++ {
			if float64(s.Uint32())*0x1p-32 < p {
				k++
			}
		}
		if stop(k, i) {
			return true
		}
	}
	return false
}

// TestSequenceCovers: of simulated runs of 400 trials, looked at after each, no more than α
// ever have a limit above the truth; and a single look of Clopper and Pearson's, misused so,
// has far more. EPSBALL_TRIALS=100000 has that many runs.
func TestSequenceCovers(t *testing.T) {
	const alpha, length = 0.05, 400
	runs := trials(t, 1000)
	for _, p := range []float64{0.5, 0.69, 0.95} {
		excluded, misused := make(map[[2]int]bool), make(map[[2]int]bool)
		memo := func(m map[[2]int]bool, f func(k, n int) bool) func(k, n int) bool {
			return func(k, n int) bool {
				if float64(k) <= p*float64(n) {
					return false
				}
				v, ok := m[[2]int{k, n}]
				if !ok {
					v = f(k, n)
					m[[2]int{k, n}] = v
				}
				return v
			}
		}
		sequence := memo(excluded, func(k, n int) bool { return Sequence{alpha}.excludes(k, n, p, choose(n, k)) })
		pearson := memo(misused, func(k, n int) bool { return atMost(tail(k, n, p, choose(n, k)), alpha) })
		each := func(n int) int { return n + 1 }
		wrong, naive := 0, 0
		for run := range runs {
			a, b := kernels.NewStream(5, uint64(run), 0), kernels.NewStream(5, uint64(run), 0)
			if walk(&a, p, length, each, sequence) {
				wrong++
			}
			if walk(&b, p, length, each, pearson) {
				naive++
			}
		}
		share := float64(wrong) / float64(runs)
		assert.LessOrEqual(t, share, alpha+3*math.Sqrt(alpha/float64(runs)), "p = %v", p)
		assert.Positive(t, wrong, "p = %v: the limits are never near the truth", p)
		assert.Greater(t, float64(naive)/float64(runs), 2*alpha, "p = %v", p)
		t.Logf("p = %v: %.4f of %d runs have a limit above p (claim: %v); %.4f if Clopper and Pearson's is looked at each time", p, share, runs, alpha, float64(naive)/float64(runs))
	}
}

// TestSequenceLower: where the limit is, the excluded begin.
func TestSequenceLower(t *testing.T) {
	s := Sequence{0.001}
	for _, c := range [][2]int{{1, 1}, {20, 20}, {90, 100}, {600, 1000}, {99_990, 100_000}} {
		l, err := s.Lower(c[0], c[1])
		require.NoError(t, err)
		fixed, err := Lower(c[0], c[1], s.Alpha)
		require.NoError(t, err)
		require.Less(t, l, fixed, "the price of looking at any time")
		ways := choose(c[1], c[0])
		require.True(t, s.excludes(c[0], c[1], l, ways))
		require.False(t, s.excludes(c[0], c[1], l*(1+1e-9), ways))
	}
	l, err := s.Lower(0, 10)
	require.NoError(t, err)
	require.Zero(t, l)
}

// TestDecisions: whichever way a test is stopped, it takes a probability at the threshold for
// more with a probability of at most α; probabilities far from it are decided early, and as
// they should be. EPSBALL_TRIALS=100000 has that many runs.
func TestDecisions(t *testing.T) {
	d := test{threshold: 0.7, alpha: 0.02, samples: 5000}
	runs := trials(t, 1000)
	memo := map[[2]int]verdict{}
	decide := func(p float64, seed uint64, runs int) (share, drawn float64) {
		for run := range runs {
			s, last := kernels.NewStream(seed, uint64(run), 0), open
			walk(&s, p, d.samples, d.next, func(k, n int) bool {
				v, ok := memo[[2]int{k, n}]
				if !ok {
					v = d.look(k, n)
					memo[[2]int{k, n}] = v
				}
				if last = v; v != open {
					drawn += float64(n) / float64(runs)
				}
				return v != open
			})
			require.NotEqual(t, open, last, "every run ends")
			if last == above {
				share += 1 / float64(runs)
			}
		}
		return share, drawn
	}
	share, drawn := decide(0.7, 6, runs)
	t.Logf("at the threshold: %.4f of %d runs are taken for above (claim: %v), %.0f trials on average", share, runs, d.alpha, drawn)
	assert.LessOrEqual(t, share, d.alpha+3*math.Sqrt(d.alpha/float64(runs)))
	assert.Greater(t, share, d.alpha/8, "the test is not what it could be")
	for p, want := range map[float64]float64{0.99: 1, 0.3: 0} {
		share, drawn := decide(p, 7, 200)
		assert.InDelta(t, want, share, 1e-9, "p = %v", p)
		assert.Less(t, drawn, 110., "p = %v", p)
	}
	assert.Equal(t, below, (&test{threshold: 1, alpha: 0.1, samples: 10}).look(10, 10))
}

// TestNormal: digits of Φ computed with 60 decimals, and math.Erfc.
func TestNormal(t *testing.T) {
	for x, want := range map[string]string{
		"1":  "0.841344746068542948585232545632037",
		"2":  "0.977249868051820792799717362833466",
		"3":  "0.998650101968369905473348185232405022",
		"-1": "0.158655253931457051414767454367963",
	} {
		v, _, err := big.ParseFloat(x, 10, precision, big.ToNearestEven)
		require.NoError(t, err)
		digits, _, err := big.ParseFloat(want, 10, precision, big.ToNearestEven)
		require.NoError(t, err)
		lo, hi := normal(v)
		gap, _ := new(big.Float).Sub(hi, lo).Float64()
		require.LessOrEqual(t, gap, 0x1p-118)
		off, _ := new(big.Float).Sub(lo, digits).Float64()
		require.InDelta(t, 0, off, 1e-32, x)
	}
	for i := -1400; i <= 1400; i += 7 {
		x := float64(i) / 100
		lo, hi := normal(wide().SetFloat64(x))
		require.LessOrEqual(t, lo.Cmp(hi), 0)
		l, _ := lo.Float64()
		h, _ := hi.Float64()
		require.InDelta(t, math.Erfc(-x/math.Sqrt2)/2, l, 1e-15, "x = %v", x)
		require.InDelta(t, l, h, 1e-30)
	}
	root, _, err := big.ParseFloat("2.50662827463100050241576528481104525300698674060993831662992357", 10, precision, big.ToNearestEven)
	require.NoError(t, err)
	off, _ := new(big.Float).Sub(root, constants().root2Pi).Float64()
	require.InDelta(t, 0, off, 0x1p-150)
}

// TestRadius: Φ of the radius is at most p, and of a little more is above it.
func TestRadius(t *testing.T) {
	sigma := net.MustEpsilon("1/4")
	for _, p := range []float64{math.Nextafter(0.5, 1), 0.51, 0.9, 0.999, 0.99993, 1 - 0x1p-53} {
		r := Radius(sigma, p)
		want := 0.25 * math.Sqrt2 * math.Erfinv(2*p-1)
		if p < 1-1e-9 {
			require.InDelta(t, want, r, 1e-9, "p = %v", p)
		}
		_, hi := normal(ratio(new(big.Rat).SetFloat64(r), sigma.Rat()))
		require.LessOrEqual(t, hi.Cmp(big.NewFloat(p)), 0)
		lo, _ := normal(ratio(new(big.Rat).SetFloat64(r*(1+1e-13)+1e-16), sigma.Rat()))
		require.Positive(t, lo.Cmp(big.NewFloat(p)), "p = %v: %v is loose", p, r)
	}
	for _, p := range []float64{0.5, 0.1, 0, -1, 2, math.NaN(), math.Inf(1)} {
		require.Zero(t, Radius(sigma, p), fmt.Sprint(p))
	}
	require.Zero(t, Radius(net.Epsilon{}, 0.9))
}
