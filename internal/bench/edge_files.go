package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/bench/worker"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// edgeFile is what a subject's contestants are given.
type edgeFile struct {
	model   string // as ours loads it
	images  string
	pixels  []float32              // of these images
	logits  []float32              // of these images
	stored  map[string]storedModel // those that were asked for
	formats string                 // folder of the others' files; "" until they are written
	failed  map[string]string      // format: why it could not be written
	err     error                  // why none could
}

// storedModel is the file that a variant of edgeStored maps, and what it answers.
type storedModel struct {
	path   string
	logits []float32
}

// input makes what all contestants of subject i need.
func (e *edgeBench) input(ctx context.Context, i int) (*edgeFile, error) {
	f := &e.inputs[i]
	if f.images != "" {
		return f, nil
	}
	m := e.subjects.list[i].Model
	if f.model = e.subjects.list[i].Path; f.model == "" {
		f.model = filepath.Join(e.dir, fmt.Sprintf("%d.safetensors", i))
		if err := m.Save(f.model); err != nil {
			return nil, err
		}
	}
	n, err := e.subjects.net(i, e.ISAs[0], singles)
	if err != nil {
		return nil, err
	}
	x := make([]float32, edgeImages*n.Input().Size())
	random := kernels.NewStream(1, 0, 0)
	for k := range x {
		x[k] = random.Float32()
	}
	if f.logits, err = edgeLogits(ctx, n, x); err != nil {
		return nil, err
	}
	f.pixels, f.stored = x, map[string]storedModel{}
	images := filepath.Join(e.dir, fmt.Sprintf("%d.images", i))
	if err := os.WriteFile(images, worker.AppendFloats(nil, x), 0o600); err != nil {
		return nil, err
	}
	f.images = images
	return f, nil
}

// stored makes the file of a variant of edgeStored, once; none of another variant.
func (e *edgeBench) stored(ctx context.Context, i int, variant string, f *edgeFile) (storedModel, error) {
	how, ok := edgeStored[variant]
	if s, made := f.stored[variant]; made || !ok {
		return s, nil
	}
	m := e.subjects.list[i].Model
	stored, err := m.Store(func(l int) model.Storage {
		if m.Arch.Layers[l].Kind == model.FC {
			return how
		}
		return model.Storage{Tiles: how.Tiles}
	})
	if err != nil {
		return storedModel{}, err
	}
	s := storedModel{path: filepath.Join(e.dir, fmt.Sprintf("%d.%s.safetensors", i, variant))}
	if err := stored.Save(s.path); err != nil {
		return storedModel{}, err
	}
	n, err := net.Compile(stored, net.Options{ISA: e.ISAs[0].Name(), Batches: net.SmallBatches})
	if err != nil {
		return storedModel{}, err
	}
	if s.logits, err = edgeLogits(ctx, n, f.pixels); err != nil {
		return storedModel{}, err
	}
	f.stored[variant] = s
	return s, nil
}

// edgeLogits computes the logits of the images that contestants must agree on.
func edgeLogits(ctx context.Context, n *net.Network, x []float32) ([]float32, error) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	z := make([]float32, edgeImages*n.Classes())
	return z, n.NewRunner(pool).Logits(ctx, z, x, edgeImages)
}

// convert writes the network of f in the formats of the peers, once.
func (e *edgeBench) convert(ctx context.Context, i int, f *edgeFile) error {
	if f.formats == "" {
		f.formats = filepath.Join(e.dir, fmt.Sprintf("%d.formats", i))
		f.err = e.writeFormats(ctx, i, f)
	}
	return f.err
}

func (e *edgeBench) writeFormats(ctx context.Context, i int, f *edgeFile) error {
	if err := os.Mkdir(f.formats, 0o700); err != nil {
		return err
	}
	data, err := onnx.Encode(e.subjects.list[i].Model)
	if err != nil {
		return err
	}
	path := filepath.Join(f.formats, "net.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	f.failed, err = convertONNX(ctx, e.Peers, filepath.Join(e.scripts, "convert.py"), path, f.formats)
	return err
}

// agree returns how far logits are from ours, as a fraction of the largest, and
// whether that is rounding. Ours must be the same bits in every process.
func agree(ours, theirs []float32, exact bool) (float64, bool) {
	const most = 1e-4
	if len(ours) != len(theirs) {
		return math.Inf(1), false
	}
	off, largest := 0.0, 0.0
	for i, z := range ours {
		largest = max(largest, math.Abs(float64(z)))
		if d := math.Abs(float64(theirs[i]) - float64(z)); d > off || math.IsNaN(d) {
			off = d
		}
	}
	if exact {
		return off / largest, slices.Equal(ours, theirs)
	}
	return off / largest, off <= most*largest
}

// edgeShape is the shape of an image for the protocol.
func edgeShape(n *net.Network) [3]int {
	in := n.Input()
	return [3]int{in.C, in.H, in.W}
}

// peerModel returns the file of the network for another runtime.
func (e *edgeBench) peerModel(ctx context.Context, c *edgeContestant, f *edgeFile) (string, error) {
	if err := e.convert(ctx, c.subject, f); err != nil {
		return "", err
	}
	p := edgePeers[slices.IndexFunc(edgePeers, func(p edgePeer) bool { return p.name == c.variant })]
	if why := f.failed[p.format]; p.format != "" && why != "" {
		if reason, ok := strings.CutPrefix(why, "absent: "); ok {
			e.absent[c.variant] = reason
			return "", errAbsent
		}
		return "", fmt.Errorf("the model could not be converted: %s", why)
	}
	return filepath.Join(f.formats, p.file), nil
}

// convertONNX runs convert.py and returns what it says: format → why not.
func convertONNX(ctx context.Context, python, script, path, folder string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, worker.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, script, path, folder)
	var errs worker.Tail
	cmd.Stderr = &errs
	out, err := cmd.Output()
	failed := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &failed)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", script, err, errs.LastLine())
	}
	return failed, nil
}
