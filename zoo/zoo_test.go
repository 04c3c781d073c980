package zoo_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// floors are what each model must reach at the ε of its card on the first 1,000 test
// images, a little below what it does (docs/models.md has all 10,000).
var floors = map[string]struct{ Clean, PGD, Certified float64 }{
	"mnist-small-trades-0.1":  {Clean: 0.975, PGD: 0.945},
	"mnist-small-trades-0.3":  {Clean: 0.97, PGD: 0.85},
	"mnist-small-ibp-0.3":     {Clean: 0.945, PGD: 0.87, Certified: 0.83},
	"mnist-small-standard":    {Clean: 0.985},
	"mnist-small-pgd-0.1":     {Clean: 0.985, PGD: 0.95},
	"mnist-small-ibp-0.1":     {Clean: 0.97, PGD: 0.945, Certified: 0.92},
	"mnist-small-mtl-ibp-0.1": {Clean: 0.98, PGD: 0.96, Certified: 0.95},
	"mnist-small-pgd-0.3":     {Clean: 0.98, PGD: 0.85},

	"fashion-small-standard":    {Clean: 0.9},
	"fashion-small-pgd-0.1":     {Clean: 0.79, PGD: 0.67},
	"fashion-small-mtl-ibp-0.1": {Clean: 0.77, PGD: 0.71, Certified: 0.69},
}

// testData returns the test images of a model's card.
func testData(t *testing.T, m *model.Model) *dataset.Set {
	spec := m.Card["test_data"]
	if spec != "builtin:mnist" {
		folder := filepath.Join("..", "..", "shared", "data", strings.TrimSuffix(spec, "#test"))
		if _, err := os.Stat(folder); err != nil {
			t.Skipf("no images of %s beside the clone", spec)
		}
		spec = folder + "#test"
	}
	set, err := dataset.Load(spec)
	require.NoError(t, err)
	return set
}

func TestModels(t *testing.T) {
	pool := kernels.NewPool(0)
	defer pool.Close()
	for _, name := range zoo.Names() {
		t.Run(name, func(t *testing.T) {
			m, err := zoo.Load(name)
			require.NoError(t, err)
			require.Equal(t, "mnist-small", m.Arch.Name)
			require.NotEmpty(t, m.Card, "a model comes with its card")
			n, err := net.Compile(m, net.Options{Backward: true})
			require.NoError(t, err)
			images := testData(t, m).Slice(0, 1000)
			if len(kernels.Available()) == 1 {
				images = images.Slice(0, 8)
			}
			e, err := audit.Evaluate(context.Background(), n, pool, images.X, images.Y, audit.Options{
				Ball: net.Ball{Eps: net.MustEpsilon(m.Card["eps"])}, Attacks: []attack.Method{attack.PGD{Steps: 10, Seed: 1}},
			})
			require.NoError(t, err)
			if images.Len() < 1000 {
				return
			}
			floor, ok := floors[name]
			require.True(t, ok)
			require.GreaterOrEqual(t, e.Clean, floor.Clean)
			require.GreaterOrEqual(t, e.Attacks[0].Robust, floor.PGD)
			require.GreaterOrEqual(t, e.Certified, floor.Certified)
			require.GreaterOrEqual(t, e.Attacks[0].Robust, e.Certified)
		})
	}
}

func TestUnknownName(t *testing.T) {
	_, err := zoo.Load("../zoo")
	require.ErrorContains(t, err, "mnist-small-ibp-0.1")
}

func TestLoadGivesCopies(t *testing.T) {
	a, err := zoo.Load(zoo.Names()[0])
	require.NoError(t, err)
	a.Params[0].W[0]++
	b, err := zoo.Load(zoo.Names()[0])
	require.NoError(t, err)
	require.NotEqual(t, a.Hash(), b.Hash())
}

// TestDocumented: docs/models.md has a section for each model, with its hash.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/models.md")
	require.NoError(t, err)
	sections := strings.Split(string(doc), "\n## ")
	for _, name := range zoo.Names() {
		m, err := zoo.Load(name)
		require.NoError(t, err)
		at := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, name+"\n") })
		require.Positive(t, at, name)
		require.Contains(t, sections[at], m.Hash(), name)
		require.Contains(t, sections[at], "--out zoo/"+name+".safetensors", name)
	}
}

// TestMore: the files of zoo/more are those of SHA256SUMS and have sections in
// docs/models.md.
func TestMore(t *testing.T) {
	list, err := os.ReadFile("more/SHA256SUMS")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("zoo/more comes with a clone alone")
	}
	require.NoError(t, err)
	doc, err := os.ReadFile("../docs/models.md")
	require.NoError(t, err)
	files, err := filepath.Glob("more/*.safetensors")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	require.Len(t, lines, len(files))
	for _, line := range lines {
		sum, name, ok := strings.Cut(line, "  ")
		require.True(t, ok, line)
		b, err := os.ReadFile(filepath.Join("more", name))
		require.NoError(t, err)
		require.Equal(t, sum, fmt.Sprintf("%x", sha256.Sum256(b)), name)
		m, err := model.Decode(b, name)
		require.NoError(t, err)
		require.Contains(t, m.Card["command"], "--out zoo/more/"+name)
		require.Contains(t, string(doc), m.Hash(), name)
	}
}
