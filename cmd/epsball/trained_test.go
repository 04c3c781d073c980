package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	certcheck "github.com/epsball/epsball/verify/check"
)

// rounding is the error allowed relative to the largest output.
const rounding = 2e-6

// TestTrainedNetworks takes the networks that PyTorch has trained and exported, by each
// of its exporters and with batch norms kept, through all commands, and holds them against ONNX Runtime, PyTorch
// and each other. Of the models of a network, which differ by roundings and by what is folded,
// the first is attacked in all ways, the others in one, unless EPSBALL_EXHAUSTIVE is set.
func TestTrainedNetworks(t *testing.T) {
	all, err := golden.Layers()
	require.NoError(t, err)
	quick := testsize.Small()
	trained := 0
	for _, e := range all {
		if e.Label == nil {
			continue
		}
		trained++
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			done := map[string]bool{} // models: most files of a network hold the same
			for file := range e.Files {
				for _, keep := range [][]string{nil, {"--keep-batchnorm"}} {
					s := newTrained(t, e, file, keep)
					s.outputs(t, file)
					if quick && (file > 0 || e.Name == "mobilenet") || file == 2 && keep == nil { // the exporters have folded, too
						continue
					}
					if !done[s.hash] {
						all := len(done) == 0 || os.Getenv("EPSBALL_EXHAUSTIVE") != ""
						done[s.hash] = true
						s.gradients(t)
						s.attack(t, all)
						s.certify(t, file, all)
						s.compare(t)
					}
				}
			}
		})
	}
	require.Len(t, golden.Trained(), trained)
}

// trained is an imported network and the files that commands make of it.
type trained struct {
	*golden.Exported
	dir, model, data, hash string
	m                      *model.Model
	points                 []found
	proofs                 []proof
}

// found is an image that fools the network.
type found struct {
	index int
	x     []float32
	by    string
}

// proof is what an accepted certificate says of an image.
type proof struct {
	index int
	ball  net.Ball
	by    string
}

// newTrained imports a file, and exports it again.
func newTrained(t *testing.T, e *golden.Exported, file int, keep []string) *trained {
	s := &trained{Exported: e, dir: t.TempDir()}
	s.model, s.data = s.path("m.safetensors"), s.path("d.npz")
	in := document(t, 0, append([]string{"import", e.Files[file], "--out", s.model}, keep...)...)
	s.hash = in["hash"].(string)
	var err error
	s.m, err = model.Load(s.model)
	require.NoError(t, err)
	kept := file == 2 && keep != nil
	if file == 2 { // what an import has changed is told
		text := run(append([]string{"import", e.Files[file], "--out", s.path("again.safetensors")}, keep...)...).stdout
		assert.Equal(t, !kept, in["notes"] != nil)
		assert.Equal(t, !kept, bytes.Contains([]byte(text), []byte("after taking in BatchNormalization")), text)
	}

	export := func(from, to string, more ...string) string {
		onnx, back := s.path(to+".onnx"), s.path(to+".safetensors")
		out := document(t, 0, append([]string{"export", from, "--out", onnx}, more...)...)
		in := document(t, 0, append([]string{"import", onnx, "--out", back}, keep...)...)
		assert.Equal(t, out["hash"], in["hash"])
		return in["hash"].(string)
	}
	assert.Equal(t, s.hash, export(s.model, "back"))
	if kept {
		folded := document(t, 0, "import", e.Files[file], "--out", s.path("f.safetensors"))
		assert.Equal(t, folded["hash"], export(s.model, "folded", "--fold"))
	}

	y := make([]int64, e.N)
	for i, v := range e.Label {
		y[i] = int64(v)
	}
	in0 := s.m.Arch.Input
	writeNPZ(t, s.data, e.X, y, []int{e.N, in0.C, in0.H, in0.W})
	return s
}

func (s *trained) path(name string) string { return filepath.Join(s.dir, name) }

func (s *trained) image(i int) []float32 {
	size := s.m.Arch.Input.Size()
	return s.X[i*size : (i+1)*size]
}

// eachPath compiles the model for every kernel set and layout.
func (s *trained) eachPath(t *testing.T, f func(n *net.Network, name string)) {
	for _, isa := range kernels.Available() {
		for _, b := range []net.Batches{net.SmallBatches, net.LargeBatches} {
			n, err := net.Compile(s.m, net.Options{ISA: isa.Name(), Backward: true, Batches: b})
			require.NoError(t, err)
			f(n, fmt.Sprintf("%s, batches %d", isa.Name(), b))
		}
	}
}

// outputs holds the logits, and the classes that eval finds, against ONNX Runtime's.
func (s *trained) outputs(t *testing.T, file int) {
	want := s.Runtime[file]
	pool := kernels.NewPool(1)
	defer pool.Close()
	var first []float32
	s.eachPath(t, func(n *net.Network, name string) {
		y := make([]float32, len(want))
		require.NoError(t, n.NewRunner(pool).Logits(context.Background(), y, s.X, s.N))
		if first == nil {
			first = y
		}
		require.Equal(t, first, y, name)
		within(t, want, y, rounding, name)
	})
	right, classes := 0, s.m.Arch.Classes()
	for i, y := range s.Label {
		if net.Argmax(want[i*classes:(i+1)*classes]) == y {
			right++
		}
	}
	doc := document(t, 0, args("eval --model %s --data %s --eps 0.02 --steps 5", s.model, s.data)...)
	e := doc["results"].([]any)[0].(map[string]any)
	assert.InDelta(t, float64(right)/float64(s.N), e["clean"], 1e-12)
	assert.LessOrEqual(t, e["certified"], e["pgd"])
}

// gradients holds those of the cross-entropy against PyTorch's in float64.
func (s *trained) gradients(t *testing.T) {
	in := s.m.Arch.Input
	size, classes := in.Size(), s.m.Arch.Classes()
	pool := kernels.NewPool(1)
	defer pool.Close()
	s.eachPath(t, func(n *net.Network, name string) {
		p := n.Passes(min(s.N, net.MaxSmall), pool)
		l := p.Layout()
		x, have := make([]float32, l.Len(l.Blocks(net.MaxSmall), size)), make([]float32, len(s.X))
		z, dz := make([]float32, classes), make([]float32, classes)
		for from := 0; from < s.N; from += net.MaxSmall {
			count := min(net.MaxSmall, s.N-from)
			clear(x)
			for k := range count {
				l.Pack(x, s.image(from+k), in, k)
			}
			p.Forward(x, l.Blocks(count))
			logits := append([]float32(nil), p.Logits()...)
			clear(p.LogitGradient())
			for k := range count {
				l.Gather(z, logits, k)
				net.CrossEntropy.Gradient(dz, z, s.Label[from+k], net.Untargeted)
				l.Scatter(p.LogitGradient(), dz, k)
			}
			g := p.Backward(l.Blocks(count))
			for k := range count {
				l.Unpack(have[(from+k)*size:(from+k+1)*size], g, in, k)
			}
		}
		within(t, s.Gradient, have, 4*rounding, "gradient on "+name)
	})
}

// within requires values that differ by no more than a part of the largest.
func within[T float32 | float64](t *testing.T, want []T, have []float32, tolerance float64, what string) {
	require.Len(t, have, len(want), what)
	most := 0.0
	for _, v := range want {
		most = max(most, math.Abs(float64(v)))
	}
	require.Positive(t, most, what)
	for i, v := range want {
		require.InDelta(t, v, have[i], tolerance*most, "%s, at %d", what, i)
	}
}

// attack collects the images that fool the network, by all attacks or one in each norm.
func (s *trained) attack(t *testing.T, all bool) {
	for norm, radii := range map[string][]string{"linf": {"0.15", "0.05"}, "l2": {"3", "1"}} {
		hows := []string{"pgd:steps=20", "fgsm", "apgd:steps=20"}
		if !all {
			radii, hows = radii[:1], hows[:1]
		}
		for _, eps := range radii {
			for _, how := range hows {
				out := s.path("adv.npz")
				doc := document(t, 0, args("attack --model %s --data %s --norm %s --eps %s --attack %s --out %s --force", s.model, s.data, norm, eps, how, out)...)
				assert.LessOrEqual(t, doc["robust"], doc["clean"])
				for _, c := range doc["checks"].([]any) {
					assert.NotContains(t, []string{"fail", "stopped"}, c.(map[string]any)["verdict"], c)
				}
				f, err := os.Open(out)
				require.NoError(t, err)
				info, err := f.Stat()
				require.NoError(t, err)
				arrays, err := dataset.ReadNPZ(out, f, info.Size(), "x", "pred")
				require.NoError(t, err)
				require.NoError(t, f.Close())
				adv, pred := arrays[0].Data.([]float32), arrays[1].Data.([]int64)
				size := s.m.Arch.Input.Size()
				for i, p := range pred {
					if p != int64(s.Label[i]) {
						s.points = append(s.points, found{i, adv[i*size : (i+1)*size], how + " " + norm + " " + eps})
					}
				}
			}
		}
	}
	require.Greater(t, 6*len(s.points), s.N, "too few to mean anything")
}

// certify collects certificates that the independent checker accepts.
func (s *trained) certify(t *testing.T, file int, all bool) {
	hows := []string{
		"--method ibp --eps 0.001", "--method crown-ibp --eps 0.001", "--method crown --eps 0.01 --n 2",
		"--method alpha-crown --iterations 3 --eps 0.01 --n 2", "--method crown --norm l1 --eps 0.1 --n 2",
	}
	if all {
		hows = append(hows, "--method ibp --radius --resolution 1/3000 --attack-steps 5 --n 6", "--method crown-ibp --radius --resolution 0.001 --norm l2 --attack-steps 5 --n 4",
			"--method crown --ladder=false --radius --resolution 0.002 --attack-steps 5 --n 2",
			"--method alpha-crown --iterations 3 --radius --resolution 1/100 --norm l2 --attack-steps 5 --n 2")
	}
	first := 4 * (file % 2) // other images where the networks differ by roundings alone
	for _, how := range hows {
		out := s.path("certs.jsonl")
		proved := document(t, 0, args("certify --model %s --data %s --out %s --force --offset %d %s", s.model, s.data, out, first, how)...)
		if proved["certified"] == 0. {
			continue
		}
		doc := document(t, 0, args("check %s --model %s --data %s", out, s.model, s.data)...)
		assert.Equal(t, doc["checked"], doc["valid"], how)
		assert.Zero(t, doc["invalid"], how)
		valid := 0
		for line := range bytes.Lines(readFile(t, out)) {
			c, err := certcheck.Parse(bytes.TrimSuffix(line, []byte("\n")))
			require.NoError(t, err)
			if !c.Certified {
				continue
			}
			valid++
			norm, err := net.ParseNorm(c.Norm)
			require.NoError(t, err)
			eps, err := net.ParseEpsilon(c.Eps)
			require.NoError(t, err)
			s.proofs = append(s.proofs, proof{c.Index, net.Ball{Norm: norm, Eps: eps}, how})
		}
		assert.EqualValues(t, valid, doc["valid"], how)
	}
	require.Greater(t, len(s.proofs), s.N/2, "too few to mean anything")
}

// compare looks for a fooling image in a ball that was certified.
func (s *trained) compare(t *testing.T) {
	same := 0
	for _, p := range s.proofs {
		for _, a := range s.points {
			if a.index != p.index {
				continue
			}
			same++
			assert.False(t, redteam.Inside(p.ball, s.image(p.index), a.x), "image %d is fooled by %s, and certified at %v by %s", a.index, a.by, p.ball, p.by)
		}
	}
	t.Logf("%d attacks, %d certificates, %d pairs of one image", len(s.points), len(s.proofs), same)
	require.Greater(t, same, s.N)
}
