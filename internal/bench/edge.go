package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/bench/peers/edge"
	"github.com/epsball/epsball/internal/bench/worker"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/report"
)

const (
	edgeStarts = 5                      // fresh processes of a row, the last of which is timed
	startTime  = 400 * time.Millisecond // of Options.Time for each of these
	edgePause  = 30 * time.Millisecond  // idle threads of the one before fall asleep
	edgeImages = 4
	mostRounds = 2 * samples
)

// WrongLogits is the error of a run in which rows had other logits than epsball's.
type WrongLogits struct{ Rows []string }

func (e *WrongLogits) Error() string {
	return "other logits than epsball's: " + strings.Join(e.Rows, ", ")
}

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

// isPeer reports whether a variant is another runtime.
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

// edgeCases lists the rows of Options.Edge.
func (b *bench) edgeCases(re *regexp.Regexp) ([]benchCase, error) {
	variants := []string{direct}
	for v := range edgeStored {
		variants = append(variants, v)
	}
	slices.Sort(variants[1:])
	if b.Peers != "" {
		for _, p := range edgePeers {
			variants = append(variants, p.name)
		}
	}
	var list []benchCase
	for i := range b.subjects.list {
		name := b.subjects.list[i].Name
		list = b.expand(list, fmt.Sprintf("edge/%s/b1", name), variants, func(int, *kernels.ISA, string) benchCase {
			return benchCase{kind: report.RowEdge, batch: 1, subject: i}
		})
	}
	list = slices.DeleteFunc(list, func(c benchCase) bool {
		_, stored := edgeStored[c.variant] // nothing to store for the cost of a call
		return c.variant != direct && c.isa != b.ISAs[0] || stored && b.subjects.list[c.subject].Name == callOverhead
	})
	name := list[0].name
	if list = matching(re, list); len(list) == 0 {
		return nil, b.noRow(name)
	}
	for i := range list {
		c := &list[i]
		n, err := b.subjects.net(c.subject, b.ISAs[0], singles)
		if err != nil {
			return nil, err
		}
		if b.subjects.list[c.subject].Name != callOverhead { // two operations are no speed
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
func (b *bench) measureEdge(ctx context.Context, list []benchCase, r *report.Bench) (err error) {
	e := &edgeBench{bench: b, inputs: make([]edgeFile, len(b.subjects.list)), absent: map[string]string{}}
	if e.dir, err = os.MkdirTemp("", "epsball-edge-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if b.Peers != "" {
		if r.Python, err = e.probe(ctx); ctx.Err() != nil {
			return &Interrupted{0, len(list), context.Cause(ctx)}
		} else if err != nil {
			return err
		}
	}
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].group == list[from].group && list[to].threads == list[from].threads {
			to++
		}
		b.progress(list[from].name, from, len(list))
		err := e.measureGroup(ctx, list[from:to], r)
		if ctx.Err() != nil {
			return &Interrupted{from, len(list), context.Cause(ctx)}
		}
		if err != nil {
			return err
		}
		from = to
	}
	for _, p := range edgePeers {
		if why, ok := e.absent[p.name]; ok {
			r.Absent = append(r.Absent, report.BenchAbsent{Runtime: p.name, Reason: why})
		}
	}
	if len(e.wrong) > 0 {
		return &WrongLogits{e.wrong}
	}
	return nil
}

// probe writes the scripts and sees whether the interpreter runs them.
func (e *edgeBench) probe(ctx context.Context) (*report.BenchPython, error) {
	e.scripts = filepath.Join(e.dir, "scripts")
	if err := os.CopyFS(e.scripts, edge.Files); err != nil {
		return nil, err
	}
	p, err := worker.Start(ctx, e.command(edgePeers[0].name))
	if err != nil {
		return nil, &OptionError{"peers", err}
	}
	defer p.Close()
	return &report.BenchPython{Version: p.Hello.Version, RSS: p.Hello.RSS, Seconds: p.Ready.Sub(p.Started).Seconds()}, nil
}

// command is the command line of a contestant.
func (e *edgeBench) command(variant string) []string {
	if !isPeer(variant) {
		return e.Worker
	}
	return []string{e.Peers, filepath.Join(e.scripts, "serve.py"), variant}
}
