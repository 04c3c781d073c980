package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/bench/peers/edge"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

const (
	edgeTime   = 2 * time.Second        // of a row, unless --time says otherwise
	edgeStarts = 5                      // fresh processes of a row, the last of which is timed
	startTime  = 400 * time.Millisecond // of --time for each of these
	edgePause  = 30 * time.Millisecond  // idle threads of the one before fall asleep
	edgeImages = 4

	// A round counts as quiet if other programs took at most this share of the
	// CPUs. Others are made up for, and the quietest rounds count.
	quietShare = 0.05
	mostRounds = 2 * samples

	// callOverhead is a network of two multiply-adds: what it costs to call each
	// runtime at all.
	callOverhead = "call-overhead"
)

// edgePeer is another runtime, run by bench/peers/edge/serve.py.
type edgePeer struct {
	name   string
	file   string // of a network in the folder of its formats
	format string // what convert.py calls it; "": ONNX
}

var edgePeers = []edgePeer{
	{"onnxruntime", "net.onnx", ""},
	{"ncnn", "net", "ncnn"},
	{"litert", "net.tflite", "tflite"},
}

// edgeStored are ours with weights used where they lie, in a mapped file.
var edgeStored = map[string]model.Storage{
	"tiles": {Tiles: true},
	"bf16":  {Tiles: true, Type: model.BF16}, // of fully connected layers
}

// isPeer tells whether a variant is another runtime.
func isPeer(variant string) bool {
	_, ok := edgeStored[variant]
	return !ok && variant != direct
}

// edgeBench is the part of a bench that concerns single images in fresh
// processes.
type edgeBench struct {
	*bench
	dir     string
	scripts string     // folder of the Python programs
	inputs  []edgeFile // of the subjects
	absent  map[string]string
	wrong   []string // rows whose logits are not ours
}

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

// checkEdge refuses flags that --edge leaves without a meaning.
func (f *benchFlags) checkEdge(changed func(flag string) bool) error {
	if !f.edge {
		if changed("peers") {
			return errors.New("--peers: only with --edge")
		}
		return nil
	}
	for _, flag := range []string{"batch", "layers", "kernels", "winograd"} {
		if changed(flag) {
			return fmt.Errorf("--%s: not with --edge, which times whole networks on single images", flag)
		}
	}
	if changed("peers") {
		path, err := exec.LookPath(f.peers)
		if err != nil {
			return fmt.Errorf("--peers: %w", err)
		}
		f.peers = path
	}
	if !f.timeSet {
		f.time, f.timeSet = edgeTime, true
	}
	return nil
}

// addCallOverhead adds the network that measures the cost of a call.
func (s *subjects) addCallOverhead() error {
	m, err := model.Random(&model.Architecture{
		Name: callOverhead, Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{{Kind: model.FC, Out: 2}},
	}, 1)
	if err == nil {
		s.names, s.specs, s.models = append(s.names, callOverhead), append(s.specs, ""), append(s.models, m)
	}
	return err
}

// edgeCases lists the rows of --edge.
func (b *bench) edgeCases(re *regexp.Regexp) ([]benchCase, error) {
	variants := []string{direct}
	for v := range edgeStored {
		variants = append(variants, v)
	}
	slices.Sort(variants[1:])
	if b.flags.peers != "" {
		for _, p := range edgePeers {
			variants = append(variants, p.name)
		}
	}
	var list []benchCase
	for i, name := range b.subjects.names {
		list = b.expand(list, fmt.Sprintf("edge/%s/b1", name), variants, func(int, *kernels.ISA, string) benchCase {
			return benchCase{kind: kindEdge, batch: 1, subject: i}
		})
	}
	list = slices.DeleteFunc(list, func(c benchCase) bool {
		_, stored := edgeStored[c.variant] // nothing to store for the cost of a call
		return c.variant != direct && c.isa != b.isas[0] || stored && b.subjects.names[c.subject] == callOverhead
	})
	name := list[0].name
	if list = matching(re, list); len(list) == 0 {
		return nil, fmt.Errorf("--filter: %q matches no row; one is called %s", b.flags.filter, name)
	}
	for i := range list {
		c := &list[i]
		n, err := b.subjects.net(c.subject, b.isas[0], singles)
		if err != nil {
			return nil, err
		}
		if b.subjects.names[c.subject] != callOverhead { // two operations are no speed
			c.flop = 2 * float64(n.MACs())
		}
		for l := range n.Layers() {
			c.bytes += forwardTraffic(n, l, 1)
		}
	}
	return list, nil
}

// measureEdge fills r with the rows of the cases. Those of a network and a
// number of threads take turns.
func (b *bench) measureEdge(ctx context.Context, bar *bar, list []benchCase, r *benchReport) (err error) {
	e := &edgeBench{bench: b, inputs: make([]edgeFile, len(b.subjects.names)), absent: map[string]string{}}
	if e.dir, err = os.MkdirTemp("", "epsball-edge-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if b.flags.peers != "" {
		if r.Python, err = e.probe(ctx); ctx.Err() != nil {
			return interrupted("nothing done")
		} else if err != nil {
			return err
		}
	}
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].group == list[from].group && list[to].threads == list[from].threads {
			to++
		}
		bar.show(list[from].name, from, len(list))
		err := e.measureGroup(ctx, list[from:to], r)
		if ctx.Err() != nil {
			return interrupted("%d of %s done", from, count(len(list), "row"))
		}
		if err != nil {
			return err
		}
		from = to
	}
	for _, p := range edgePeers {
		if why, ok := e.absent[p.name]; ok {
			r.Absent = append(r.Absent, absentPeer{p.name, why})
		}
	}
	if len(e.wrong) > 0 {
		return undecided("other logits than epsball's: %s", strings.Join(e.wrong, ", "))
	}
	return nil
}

// probe writes the scripts and sees whether the interpreter runs them.
func (e *edgeBench) probe(ctx context.Context) (*pythonFacts, error) {
	e.scripts = filepath.Join(e.dir, "scripts")
	if err := os.CopyFS(e.scripts, edge.Files); err != nil {
		return nil, err
	}
	p, err := startEdge(ctx, e.command(edgePeers[0].name))
	if err != nil {
		return nil, fmt.Errorf("--peers: %w", err)
	}
	defer p.close()
	return &pythonFacts{p.hello.Version, p.hello.RSS, p.ready.Sub(p.started).Seconds()}, nil
}

// command is the command line of a contestant.
func (e *edgeBench) command(variant string) []string {
	if !isPeer(variant) {
		self, err := os.Executable()
		if err != nil {
			self = os.Args[0]
		}
		return []string{self, edgeWorker}
	}
	return []string{e.flags.peers, filepath.Join(e.scripts, "serve.py"), variant}
}

// input makes what all contestants of subject i need.
func (e *edgeBench) input(ctx context.Context, i int) (*edgeFile, error) {
	f := &e.inputs[i]
	if f.images != "" {
		return f, nil
	}
	m := e.subjects.models[i]
	if spec := e.subjects.specs[i]; spec != "" && !strings.HasPrefix(spec, builtinPrefix) {
		f.model = spec
	} else {
		f.model = filepath.Join(e.dir, fmt.Sprintf("%d.safetensors", i))
		if err := m.Save(f.model); err != nil {
			return nil, err
		}
	}
	n, err := e.subjects.net(i, e.isas[0], singles)
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
	if err := os.WriteFile(images, appendFloats(nil, x), 0o600); err != nil {
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
	m := e.subjects.models[i]
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
	n, err := net.Compile(stored, net.Options{ISA: e.isas[0].Name(), Batches: net.SmallBatches})
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
	data, err := onnx.Encode(e.subjects.models[i])
	if err != nil {
		return err
	}
	path := filepath.Join(f.formats, "net.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	f.failed, err = convertONNX(ctx, e.flags.peers, filepath.Join(e.scripts, "convert.py"), path, f.formats)
	return err
}

// agree tells how far logits are from ours, as a fraction of the largest, and
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
