package cert_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

var hash = strings.Repeat("0123456789abcdef", 4)

// sample is a certificate of image i; every third one is undecided.
func sample(i int) *check.Certificate {
	c := &check.Certificate{
		Model: hash, Level: check.Executed, Data: "a \"set\" <é>", Index: i, Input: hash, Label: i % 10, Norm: "linf",
		Eps: "8/255", Run: "eps 8/255", Method: check.CROWN, Certified: i%3 != 2,
	}
	if c.Certified {
		c.Margin = 0.25 * float64(1+i)
		c.Slopes = []check.Slopes{
			{For: check.ForAll, ReLU: 1, Alpha: cert.Alpha([]float32{0, 1, 1})},
			{For: check.ForRows, ReLU: 3, Alpha: check.Adaptive},
			{For: 2, ReLU: 1, Alpha: cert.Alpha([]float32{0.5})},
		}
	}
	return c
}

func samples(n int) (all []*check.Certificate) {
	for i := range n {
		all = append(all, sample(i))
	}
	return all
}

func text(t *testing.T, certs ...*check.Certificate) []byte {
	var b []byte
	var err error
	for _, c := range certs {
		b, err = cert.Append(b, c)
		require.NoError(t, err)
	}
	return b
}

// TestAppend: what is written is one line of JSON and reads back the same.
func TestAppend(t *testing.T) {
	rows := sample(4)
	rows.Label, rows.Rows, rows.Offsets, rows.Margin = -1, [][]float64{{1, -0.1, 1e-300}, {0, 0, 5e-324}}, []float64{0, -2.5}, 0
	for _, c := range append(samples(6), rows) {
		b := text(t, c)
		require.True(t, json.Valid(b))
		require.Equal(t, 1, bytes.Count(b, []byte("\n")))
		back, err := check.Parse(bytes.TrimSuffix(b, []byte("\n")))
		require.NoError(t, err)
		require.Equal(t, c, back)
	}
	undecided := sample(0)
	undecided.Certified = false
	require.NotContains(t, string(text(t, undecided)), "slopes")
	for _, edit := range []func(c *check.Certificate){
		func(c *check.Certificate) { c.Eps = ".5" },
		func(c *check.Certificate) { c.Margin = math.NaN() },
		func(c *check.Certificate) { c.Margin = -1 },
		func(c *check.Certificate) { c.Level = "" },
		func(c *check.Certificate) { c.Method = check.IBP },
		func(c *check.Certificate) { c.Index = -1 },
		func(c *check.Certificate) { c.Model = "x" },
		func(c *check.Certificate) { c.Offsets = []float64{1} },
		func(c *check.Certificate) { c.Data = strings.Repeat("x", 1<<20) },
	} {
		c := sample(0)
		edit(c)
		b, err := cert.Append([]byte("before"), c)
		require.Error(t, err)
		require.Equal(t, "before", string(b))
	}
}

// TestAlpha: the shortest encoding is chosen.
func TestAlpha(t *testing.T) {
	require.Equal(t, "bits:BQE=", cert.Alpha([]float32{1, 0, 1, 0, 0, 0, 0, 0, 1}))
	require.Equal(t, "bits:AQIA", cert.Alpha([]float32{1, 0}, []float32{0, 1}, []float32{0, 0}), "vectors start at a byte")
	require.Equal(t, "u8:AAH/", cert.Alpha([]float32{0, float32(1) / 255, 1}))
	require.Equal(t, "f32:AAAAPwAAgD8=", cert.Alpha([]float32{0.5, 1}))
	require.True(t, strings.HasPrefix(cert.Alpha([]float32{-1}), "f32:"))
	require.True(t, strings.HasPrefix(cert.Alpha([]float32{float32(math.NaN())}), "f32:"))
	for k := range 256 {
		require.True(t, k%255 == 0 || strings.HasPrefix(cert.Alpha([]float32{float32(k) / 255}), "u8:"))
	}
}

// TestMargin: at most 99 % of what was proved, not much less, in few digits.
func TestMargin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		v := math.Exp(r.NormFloat64() * 20)
		m := cert.Margin(v)
		require.LessOrEqual(t, m, 0.99*v)
		require.GreaterOrEqual(t, m, 0.97*v)
		require.LessOrEqual(t, len(strings.TrimRight(strings.Split(fmt.Sprintf("%e", m), "e")[0], "0")), 4)
	}
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1), 5e-324} {
		require.Zero(t, cert.Margin(v))
	}
}

// TestFill: a proof gives a certificate its method, slopes and a margin with
// room, or nothing.
func TestFill(t *testing.T) {
	p := cert.Proof{Method: check.CROWN, Certified: true, Margin: 2, Slopes: []cert.Slopes{
		{For: check.ForRows, ReLU: 1, Alpha: [][]float32{{1, 0}, {0, 1}}}, {For: 4, ReLU: 3},
	}}
	c := sample(0)
	p.Fill(c)
	require.Equal(t, []check.Slopes{{For: check.ForRows, ReLU: 1, Alpha: "bits:AQI="}, {For: 4, ReLU: 3, Alpha: "adaptive"}}, c.Slopes)
	require.Equal(t, 1.98, c.Margin)
	p.Certified = false
	p.Fill(c)
	require.False(t, c.Certified)
	require.Empty(t, c.Slopes)
	require.Zero(t, c.Margin)
}

func TestEps(t *testing.T) {
	for written, want := range map[string]string{"0.1": "0.1", "8/255": "8/255", ".5": "1/2", "5.": "5", "": "3/7"} {
		exact, ok := new(big.Rat).SetString(written)
		if !ok {
			exact = big.NewRat(3, 7)
		}
		require.Equal(t, want, cert.Eps(written, exact))
	}
	require.Equal(t, "1/10", cert.Eps("0.2", big.NewRat(1, 10)), "the exact value counts")
}

// TestKilledAnywhere: after a kill at any byte the file goes on, with every
// sample there exactly once and those that were whole not made again.
func TestKilledAnywhere(t *testing.T) {
	all := samples(3)
	whole := text(t, all...)
	path := filepath.Join(t.TempDir(), "c.jsonl")
	for cut := range len(whole) + 1 {
		for _, tail := range []int{0, 3}[cut%2 : cut%2+1] { // a power cut may leave zeros
			left := append(append([]byte{}, whole[:cut]...), make([]byte, tail)...)
			require.NoError(t, os.WriteFile(path, left, 0o666))
			f, done, err := cert.Resume(path, all[0])
			require.NoError(t, err, "cut at %d", cut)
			require.Len(t, done, bytes.Count(whole[:cut], []byte("\n")))
			for i, c := range all {
				if d := done[i]; d != nil {
					require.Equal(t, c.Certified, d.Certified)
					continue
				}
				require.NoError(t, f.Append(c))
			}
			require.NoError(t, f.Close())
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(whole), string(got), "cut at %d", cut)
		}
	}
}

// TestCreate: a file that is there is left alone, or replaced if that is asked
// for; a new one is whole after each Append.
func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	const old = "something long that was there"
	require.NoError(t, os.WriteFile(path, []byte(old), 0o666))
	_, err := cert.Create(path)
	require.ErrorIs(t, err, fs.ErrExist)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, old, string(left))

	f, err := cert.Replace(path)
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, f.Append(sample(2*i), sample(2*i+1)))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text(t, samples(2*i+2)...), got)
	}
	bad := sample(6)
	bad.Eps = "x"
	require.Error(t, f.Append(sample(7), bad), "nothing of a batch with a bad one is written")
	require.NoError(t, f.Append())
	require.NoError(t, f.Close())
	require.Error(t, f.Append(sample(8)))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text(t, samples(6)...), got)
	_, err = cert.Create(filepath.Join(t.TempDir(), "no", "such"))
	require.Error(t, err)
}

// TestOneWriter: a file that is being written is refused, however it is opened,
// and left alone.
func TestOneWriter(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no file locks")
	}
	path := filepath.Join(t.TempDir(), "c.jsonl")
	f, err := cert.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Append(sample(0)))
	refused := path + ": another process is writing it"
	_, err = cert.Create(path)
	require.EqualError(t, err, refused)
	_, err = cert.Replace(path)
	require.EqualError(t, err, refused)
	_, _, err = cert.Resume(path, sample(0))
	require.EqualError(t, err, refused)
	require.EqualError(t, cert.Busy(path), refused)
	require.NoError(t, f.Append(sample(1)))
	require.NoError(t, f.Close())
	require.NoError(t, cert.Busy(path))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text(t, samples(2)...), got)
	_, done, err := cert.Resume(path, sample(0))
	require.NoError(t, err)
	require.Len(t, done, 2)
}

// TestNothingAppended: a new file with nothing in it does not stand in the way.
func TestNothingAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	for range 2 {
		f, err := cert.Create(path)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoFileExists(t, path)
	}
}

func TestStream(t *testing.T) {
	var b bytes.Buffer
	f := cert.Stream(&b)
	require.NoError(t, f.Append(sample(0), sample(1)))
	require.NoError(t, f.Append(sample(2)))
	require.NoError(t, f.Close())
	require.Equal(t, text(t, samples(3)...), b.Bytes())
}

// TestResumeRefuses: other runs, other people's files and damage are named and
// left alone.
func TestResumeRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	like := sample(0)
	with := func(edit func(c *check.Certificate)) []byte {
		c := sample(1)
		edit(c)
		return text(t, sample(0), c, sample(2))
	}
	good := text(t, samples(3)...)
	flipped := append([]byte{}, good...)
	flipped[len(text(t, sample(0)))+150] ^= 1
	for want, b := range map[string][]byte{
		"line 2: model: ":                     with(func(c *check.Certificate) { c.Model = hash[1:] + "0" }),
		"line 2: level: got \"real\"":         with(func(c *check.Certificate) { c.Level = check.Real }),
		"line 2: data: ":                      with(func(c *check.Certificate) { c.Data = "other" }),
		"line 2: norm: ":                      with(func(c *check.Certificate) { c.Norm = "l2" }),
		"line 2: run: ":                       with(func(c *check.Certificate) { c.Run = "eps 0.1" }),
		"line 2: image 0 is there already":    with(func(c *check.Certificate) { c.Index = 0 }),
		"line 2: sum: the line is not what w": flipped,
		"line 1: sum: expected the line to e": []byte("dear diary\n"),
		"line 1: the line has no end":         []byte("dear diary"),
		"line 4: sum":                         append(append([]byte{}, good...), "{\"format\":\"other\"}\n"...),
	} {
		require.NoError(t, os.WriteFile(path, b, 0o666))
		_, _, err := cert.Resume(path, like)
		require.ErrorContains(t, err, path+": "+want)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
	_, _, err := cert.Resume(t.TempDir(), like)
	require.Error(t, err)
}

// FuzzResume: whatever the file, it is refused and left alone, or goes on with
// whole certificates and nothing else.
func FuzzResume(f *testing.F) {
	b, err := cert.Append(nil, sample(0))
	require.NoError(f, err)
	b, err = cert.Append(b, sample(2))
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:len(b)-7])
	f.Add([]byte("{\"format\":"))
	f.Add([]byte("\n\x00"))
	path := filepath.Join(f.TempDir(), "c.jsonl")
	f.Fuzz(func(t *testing.T, before []byte) {
		require.NoError(t, os.WriteFile(path, before, 0o666))
		file, done, err := cert.Resume(path, sample(0))
		after, readErr := os.ReadFile(path)
		require.NoError(t, readErr)
		if err != nil {
			require.Equal(t, before, after)
			return
		}
		require.NoError(t, file.Close())
		require.True(t, bytes.HasPrefix(before, after))
		require.Equal(t, len(done), bytes.Count(after, []byte("\n")))
		require.True(t, len(after) == 0 || after[len(after)-1] == '\n')
	})
}
