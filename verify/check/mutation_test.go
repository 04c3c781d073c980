package check_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// issued is a valid certificate with what it speaks of.
type issued struct {
	checker, other *check.Checker
	model          *model.Model
	cert           *check.Certificate
	x, otherX      []float32
	y              int
}

// issue makes certificates for real images, and for random ones of a residual
// network: any slopes that the checker finds positive make a valid one.
func issue(t *testing.T) (all []issued) {
	r := rand.New(rand.NewPCG(3, 4))
	models := map[string]*check.Checker{}
	for _, name := range []string{"mnist-small-ibp-0.1", "mnist-small-pgd-0.1", "mnist-small-standard"} {
		m, _ := zooModel(t, name, 1)
		models[name] = newChecker(t, m)
	}
	for _, c := range []struct {
		model, other, norm, eps string
		methods                 []string
		n                       int
	}{
		{"mnist-small-ibp-0.1", "mnist-small-standard", "linf", "0.1", []string{check.IBP}, 12},
		{"mnist-small-ibp-0.1", "mnist-small-pgd-0.1", "l2", "1/10", []string{check.IBP, check.CROWNIBP, check.CROWN}, 3},
		{"mnist-small-ibp-0.1", "mnist-small-pgd-0.1", "l1", "1/10", []string{check.CROWNIBP}, 3},
		{"mnist-small-pgd-0.1", "mnist-small-ibp-0.1", "linf", "0.02", []string{check.CROWN, check.AlphaCROWN}, 4},
		{"mnist-small-standard", "mnist-small-ibp-0.1", "linf", "5/255", []string{check.CROWN}, 2},
	} {
		m, set := zooModel(t, c.model, c.n+1)
		for i := range c.n {
			x, y := set.Image(i), set.Y[i]
			one := claim(m, x, y, c.norm, c.eps, c.methods[i%len(c.methods)])
			one.Index = i
			if one.Method == check.AlphaCROWN {
				one.Slopes = randomSlopes(m, one.Method, 9, i%3, r)
			}
			v := verdict(t, models[c.model], one, x, y)
			if one.Margin = cert.Margin(v.Margin); !v.Valid {
				continue
			}
			all = append(all, issued{models[c.model], models[c.other], m, one, x, set.Image(i + 1), y})
		}
	}
	for seed := range uint64(40) {
		m, err := model.Random(architectures()[4], seed)
		require.NoError(t, err)
		other, err := model.Random(architectures()[4], seed+1000)
		require.NoError(t, err)
		x := make([]float32, m.Arch.Input.Size())
		for i := range x {
			x[i] = r.Float32()
		}
		k := newChecker(t, m)
		c := claim(m, x, -1, "linf", "0.003", check.CROWN)
		c.Rows, c.Offsets = [][]float64{{1, -1, 0.5}, {0, 1, -0.25}}, []float64{0.1, 3}
		c.Slopes = randomSlopes(m, c.Method, 2, int(seed%3), r)
		if v := verdict(t, k, c, x, 0); v.Valid {
			c.Margin = cert.Margin(v.Margin)
			all = append(all, issued{k, newChecker(t, other), m, c, x, append([]float32{0.123}, x[1:]...), 0})
		}
	}
	return all
}

// accepted reports whether a line is a certificate that holds.
func (s *issued) accepted(t *testing.T, k *check.Checker, line []byte, x []float32) bool {
	c, err := check.Parse(line)
	if err != nil {
		return false
	}
	return verdict(t, k, c, x, s.y).Valid
}

// sealed replaces the seal of a line by that of what it says now.
func sealed(line string) []byte {
	body := line[:strings.LastIndex(line, `,"sum":"`)]
	return []byte(body + `,"sum":"` + check.Seal([]byte(body)) + `"}`)
}

// TestMutations: every certificate issued is accepted; none that was tampered
// with is, though sealed anew, but for changes that leave a true claim with its
// proof.
func TestMutations(t *testing.T) {
	all := issue(t)
	require.Greater(t, len(all), 40)
	count, methods := 0, map[string]int{}
	for n := range all {
		s := &all[n]
		text := string(line(t, s.cert))
		require.True(t, s.accepted(t, s.checker, []byte(text), s.x), text)
		methods[s.cert.Method]++
		for i, mutated := range s.mutations(t, text, n) {
			require.NotEqual(t, text, string(mutated), "mutation %d changes nothing", i)
			require.False(t, s.accepted(t, s.checker, mutated, s.x), "mutation %d of %s is accepted: %.2000s", i, text, mutated)
			count++
		}
		require.False(t, s.accepted(t, s.other, []byte(text), s.x), "another model")
		require.False(t, s.accepted(t, s.checker, []byte(text), s.otherX), "another input")
		require.False(t, s.accepted(t, s.checker, []byte(text), s.x[1:]), "a short input")
		require.False(t, s.accepted(t, s.checker, []byte(text), append([]float32{2}, s.x[1:]...)), "a bad pixel")
	}
	t.Logf("%d certificates %v, %d mutations", len(all), methods, count)
	require.Greater(t, count, 2000)
	for _, m := range []string{check.IBP, check.CROWNIBP, check.CROWN, check.AlphaCROWN} {
		require.Positive(t, methods[m], m)
	}
}

// mutations returns lines that must be refused. Costly ones, which reach the
// bounds, take turns.
func (s *issued) mutations(t *testing.T, text string, n int) (out [][]byte) {
	c := s.cert
	change := func(old, new string) {
		require.Contains(t, text, old)
		out = append(out, sealed(strings.Replace(text, old, new, 1)))
	}
	edit := func(f func(c *check.Certificate)) {
		d := *c
		f(&d)
		if b, err := cert.Append(nil, &d); err == nil { // or it cannot even be written
			out = append(out, bytes.TrimSuffix(b, []byte("\n")))
		}
	}
	// Any byte, without a new seal.
	r := rand.New(rand.NewPCG(5, uint64(n)))
	for range 20 {
		b := []byte(text)
		b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		out = append(out, b)
	}
	out = append(out, []byte(text[:len(text)-1]), []byte(text[:len(text)/2]), []byte(text+" "), nil)

	change(`"version":1`, `"version":2`)
	change(`"epsball-certificate"`, `"other"`)
	change(c.Model[:20], strings.Repeat("0", 20))
	change(c.Input[:20], strings.Repeat("0", 20))
	change(c.Input, strings.ToUpper(c.Input)+"0")
	change(`"level":"executed"`, `"level":"exact"`)
	for _, key := range []string{"format", "version", "model", "level", "data", "index", "input", "norm", "eps", "run", "method", "certified"} {
		change(`"`+key+`":`, `"x`+key+`":`)             // missing, and unknown
		change(`"format":`, `"`+key+`":null,"format":`) // twice
	}
	for _, eps := range []string{"-0.1", "NaN", "inf", "1/0", "0x1p-3", "0,1", "", ".", "1e", "1e9999", strings.Repeat("1", 65), " 0.1", "1/2/3"} {
		change(fmt.Sprintf(`"eps":%q`, c.Eps), fmt.Sprintf(`"eps":%q`, eps))
	}
	for _, m := range []string{"-1", "0", "NaN", "null", `"1"`, "1e999", "[1]"} {
		change(fmt.Sprintf(`"margin":%v`, c.Margin), `"margin":`+m)
	}
	change(`"certified":true`, `"certified":false`)
	change(`"certified":true`, `"certified":1`)
	change(`"index":`, `"index":-`)
	change(`"norm":"`+c.Norm+`"`, `"norm":"l3"`)
	change(`"method":"`+c.Method+`"`, `"method":"trust"`)
	edit(func(c *check.Certificate) { c.Certified = false })

	s.specifications(edit, n)
	if len(c.Slopes) > 0 {
		s.slopes(edit, n)
	} else if c.Method != check.IBP {
		edit(func(c *check.Certificate) {
			c.Slopes = []check.Slopes{{For: check.ForAll, ReLU: 0, Alpha: check.Adaptive}}
		})
	} else {
		edit(func(c *check.Certificate) {
			c.Slopes = []check.Slopes{{For: check.ForAll, ReLU: 1, Alpha: check.Adaptive}}
		})
	}
	if cheap := c.Method == check.IBP || len(c.Rows) > 0; cheap || n%6 == 0 {
		edit(func(c *check.Certificate) { c.Eps = "1/2" })
		edit(func(c *check.Certificate) { c.Eps = "1e300" })
		edit(func(c *check.Certificate) { c.Margin *= 1.5 })
		if c.Norm != "linf" {
			edit(func(c *check.Certificate) { c.Norm, c.Eps = "linf", "0.45" })
		}
	}
	return out
}

func (s *issued) specifications(edit func(func(*check.Certificate)), n int) {
	if len(s.cert.Rows) == 0 {
		for _, y := range []int{(s.y + 1) % 10, (s.y + 9) % 10, 10, 1 << 20} {
			edit(func(c *check.Certificate) { c.Label = y })
		}
		edit(func(c *check.Certificate) { // rows that say more
			c.Label, c.Rows, c.Offsets = -1, [][]float64{make([]float64, 10)}, []float64{0}
			c.Rows[0][(s.y+1)%10], c.Rows[0][s.y] = 1, -1
		})
		edit(func(c *check.Certificate) { c.Label, c.Rows, c.Offsets = -1, [][]float64{{1}}, []float64{1e9} })
		return
	}
	edit(func(c *check.Certificate) { c.Offsets = []float64{0.1, 3 - 2*c.Margin - 100} })
	edit(func(c *check.Certificate) { c.Offsets = []float64{0.1} })
	edit(func(c *check.Certificate) { c.Rows = c.Rows[:1] })
	edit(func(c *check.Certificate) { c.Rows = [][]float64{{1, -1, 0.5}, {0, 1}} })
	edit(func(c *check.Certificate) { c.Rows = [][]float64{{1, -1, 0.5}, {0, 1e308, -1e308}} })
	edit(func(c *check.Certificate) { // the opposite
		c.Rows, c.Offsets = [][]float64{{-1, 1, -0.5}, {0, -1, 0.25}}, []float64{-0.1, -3}
	})
	edit(func(c *check.Certificate) { c.Rows, c.Offsets, c.Label = nil, nil, 3 })
}

func (s *issued) slopes(edit func(func(*check.Certificate)), n int) {
	first := s.cert.Slopes[0]
	shapes, _ := s.model.Arch.Shapes()
	size := shapes[first.ReLU+1].Size()
	with := func(f func(b *check.Slopes)) {
		edit(func(c *check.Certificate) {
			c.Slopes = append([]check.Slopes{}, c.Slopes...)
			f(&c.Slopes[0])
		})
	}
	bad := func(v float32) string {
		a := make([]float32, size)
		a[size/2] = v
		return cert.Alpha(a)
	}
	for _, v := range []float32{1.5, -0.1, nan, inf, -inf, 1.0000001, -1e-40} {
		with(func(b *check.Slopes) { b.Alpha = bad(v) })
	}
	for _, text := range []string{"", "bits:", "bits:!", "f64:AAAA", "u8:" + strings.Repeat("A", 4*size), "bits", "f32:AAAA"} {
		with(func(b *check.Slopes) { b.Alpha = text })
	}
	with(func(b *check.Slopes) { b.Alpha = cert.Alpha(make([]float32, 20*size)) })
	with(func(b *check.Slopes) { b.Alpha = cert.Alpha(make([]float32, size))[:8] })
	with(func(b *check.Slopes) { b.ReLU-- })
	with(func(b *check.Slopes) { b.ReLU = 1 << 30 })
	with(func(b *check.Slopes) { b.For = first.ReLU })
	with(func(b *check.Slopes) { b.For = 1 << 30 })
	edit(func(c *check.Certificate) { c.Slopes = append(c.Slopes[:len(c.Slopes):len(c.Slopes)], first) })
	edit(func(c *check.Certificate) { c.Method = check.IBP })
	if len(s.cert.Rows) > 0 || n%6 == 0 { // slopes that break the claim
		edit(func(c *check.Certificate) {
			c.Slopes, c.Margin = append([]check.Slopes{}, c.Slopes...), 1.2*c.Margin
			for i := range c.Slopes {
				a := make([]float32, shapes[c.Slopes[i].ReLU+1].Size())
				for k := range a {
					a[k] = float32(k % 2)
				}
				c.Slopes[i].Alpha = cert.Alpha(a)
			}
		})
	}
}
