package onnx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epsball/epsball/model"
)

// Operator sets whose meaning of the operators is known.
const (
	minOpset = 7
	maxOpset = 28
)

// allowance is how many elements a conversion may touch beyond a multiple of the
// file's size: weights that operators stand for, constants spread over images.
const allowance = 1 << 26

// Decode reads an ONNX model from the bytes of a file. The name appears in
// errors, which are all *model.FormatError. The result is valid and shares no
// memory with data. Hostile data can make it fail, but not panic, nor take more
// than a small multiple of len(data) and a gigabyte of memory. A model whose weights
// are in another file (external data) needs Load or LoadFS.
func Decode(data []byte, name string) (*model.Model, error) {
	return Options{}.decodeBeside(data, name, nil)
}

// Options are a choice of what a network becomes.
type Options struct {
	// KeepBatchNorm makes a layer of each BatchNormalization. Otherwise they are taken
	// in by convolutions and fully connected layers where those can.
	KeepBatchNorm bool
}

// decodeBeside is Decode of a model in a folder, from which it may take external
// data: open files there.
func (o Options) decodeBeside(data []byte, name string, open sibling) (*model.Model, error) {
	m, err := o.decode(data, allowance, open)
	var fe *model.FormatError
	if errors.As(err, &fe) {
		c := *fe
		c.File = name
		return nil, &c
	}
	return m, err
}

func (o Options) decode(data []byte, allowance int64, open sibling) (*model.Model, error) {
	g, err := parseModel(data)
	if err != nil {
		return nil, err
	}
	if g.opset < minOpset || g.opset > maxOpset {
		return nil, malformed("opset_import", "got version %d of ONNX's operators, expected %d to %d", g.opset, minOpset, maxOpset)
	}
	im := &importer{
		graph: g, keepBatchNorm: o.KeepBatchNorm, vals: map[string]value{}, inits: map[string]*tensor{}, uses: map[string]int{},
		budget:   allowance + int64(len(data)),
		external: external{open: open, left: maxExternal},
	}
	defer im.external.close()
	if err := im.declare(); err != nil {
		return nil, err
	}
	live, err := im.live()
	if err != nil {
		return nil, err
	}
	for i, n := range g.nodes {
		if live[i] && random[n.op] {
			return nil, n.errorf("", "got random numbers, as a network in training draws them: %s", forInference)
		}
	}
	for i, n := range g.nodes {
		if !live[i] {
			continue
		}
		if err := im.convert(n); err != nil {
			return nil, err
		}
	}
	return im.finish()
}

// maxLayers is more than a model may have; some may turn out to be in vain.
const maxLayers = 4096

// value is what a name of the graph stands for: a constant or an activation.
type value struct {
	c *constant
	a *act
}

// importer runs a graph on symbols: names stand for constants or views of
// activations, and layers are the operations met on the way.
type importer struct {
	*graph
	vals   map[string]value
	inits  map[string]*tensor // not decoded yet
	uses   map[string]int     // by how many live inputs each name is read
	budget int64              // elements left

	external external

	keepBatchNorm bool

	in     input
	layers []*layer
	norm   *layer // of the input, layers[normAt]; nil: none
	normAt int
	notes  []string
	end    string // the operator dropped at the end; "": none
}

// charge accounts for n elements of memory or work.
func (im *importer) charge(n int64) error {
	if im.budget -= n; im.budget < 0 {
		return malformed("graph", "got a network whose conversion takes too much memory for its size, expected at most %d elements beyond the file's own",
			allowance)
	}
	return nil
}

// note records a conversion that is not exact or not obvious.
func (im *importer) note(format string, args ...any) {
	const longest = 1000
	s := fmt.Sprintf(format, args...)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	if len(im.notes) < 64 {
		im.notes = append(im.notes, s)
	}
}

// declare finds the initializers and the one input.
func (im *importer) declare() error {
	for _, t := range im.initializers {
		if im.inits[t.name] != nil {
			return malformed("tensor "+quote(t.name), "got two initializers of this name, expected one")
		}
		im.inits[t.name] = t
	}
	var names []string
	var in valueInfo
	for _, v := range im.inputs {
		if im.inits[v.name] == nil {
			in, names = v, append(names, quote(v.name))
		}
	}
	if len(names) != 1 {
		return malformed("graph.input", "got %d inputs (%s), expected 1", len(names), strings.Join(names[:min(len(names), 8)], ", "))
	}
	a, err := im.in.declare(in)
	im.vals[in.name] = value{a: a}
	return err
}

// live reports which nodes the output depends on, and counts their readers.
func (im *importer) live() ([]bool, error) {
	if len(im.outputs) != 1 {
		return nil, malformed("graph.output", "got %d outputs, expected 1", len(im.outputs))
	}
	live := make([]bool, len(im.nodes))
	im.uses[im.outputs[0].name] = 1
	// Nodes are in topological order: readers come later.
	for i := len(im.nodes) - 1; i >= 0; i-- {
		n := im.nodes[i]
		for _, o := range n.outputs {
			live[i] = live[i] || o != "" && im.uses[o] > 0
		}
		if live[i] {
			for _, name := range n.inputs {
				im.uses[name]++
			}
		}
	}
	return live, nil
}

func (im *importer) convert(n *node) error {
	if !isStandard(n.domain) {
		return n.errorf("", "got an operator of the domain %s, expected ONNX's own", quote(n.domain))
	}
	f := operators[n.op]
	if f == nil {
		return im.unsupported(n)
	}
	if err := im.checkEnd(n); err != nil {
		return err
	}
	v, err := f(im, n)
	if err != nil {
		return err
	}
	if len(im.layers) > maxLayers {
		return n.errorf("", "got more than %d layers up to here, expected at most that", maxLayers)
	}
	for _, a := range n.attrs {
		if !n.used[a.name] {
			return n.errorf("attribute "+quote(a.name), "got an attribute that is not supported for %s", n.op)
		}
	}
	if len(n.outputs) == 0 || n.outputs[0] == "" {
		return n.errorf("output 0", "got none, expected one")
	}
	if _, ok := im.vals[n.outputs[0]]; ok || im.inits[n.outputs[0]] != nil {
		return n.errorf("output 0", "got the name %s, which another value has", quote(n.outputs[0]))
	}
	im.vals[n.outputs[0]] = v
	return nil
}

// operand returns input i of a node.
func (im *importer) operand(n *node, i int) (value, error) {
	if !n.has(i) {
		return value{}, n.errorf(fmt.Sprintf("input %d", i), "got none, expected one")
	}
	name := n.inputs[i]
	if v, ok := im.vals[name]; ok {
		if v.a != nil && im.uses[name] > 1 {
			a := *v.a
			a.sole = false
			v.a = &a
		}
		return v, nil
	}
	t := im.inits[name]
	if t == nil {
		return value{}, n.errorf(fmt.Sprintf("input %d", i), "got %s, which nothing before defines: expected nodes in topological order", quote(name))
	}
	v, err := im.decode(t)
	if err == nil {
		im.vals[name] = v
	}
	return v, err
}

func (im *importer) decode(t *tensor) (value, error) {
	if t.external {
		if err := im.external.fetch(t); err != nil {
			return value{}, err
		}
		im.budget += int64(len(t.raw)) // as those of the model's own file
		defer func() { t.raw, t.hasRaw = nil, false }()
	}
	c, err := t.value()
	if err != nil {
		return value{}, err
	}
	if c.rounded > 0 {
		im.note("tensor %s: %d of %d doubles rounded to float32", quote(t.name), c.rounded, len(c.f))
	}
	return value{c: c}, im.charge(int64(len(c.f) + len(c.i)))
}

// activation returns input i, which must not be a constant, with its padding
// carried out.
func (im *importer) activation(n *node, i int) (*act, error) {
	a, err := im.padded(n, i)
	if err != nil || a.pad == [4]int{} {
		return a, err
	}
	return im.settle(n, a)
}

// padded is activation, for the operators that take padding into themselves.
func (im *importer) padded(n *node, i int) (*act, error) {
	v, err := im.operand(n, i)
	if err == nil && v.a == nil {
		err = n.errorf(fmt.Sprintf("input %d", i), "got the constant %s, expected what depends on the network's input", quote(n.inputs[i]))
	}
	return v.a, err
}

// floats returns input i, a constant of float elements.
func (im *importer) floats(n *node, i int) (*constant, error) {
	c, err := im.constant(n, i)
	if err == nil && !c.isFloat() {
		err = n.errorf(fmt.Sprintf("input %d", i), "got integers, expected floating-point numbers")
	}
	if err == nil && c.infinite() {
		err = n.errorf(fmt.Sprintf("input %d", i), "got %v, expected a finite number", c.f[0])
	}
	return c, err
}

func (im *importer) constant(n *node, i int) (*constant, error) {
	v, err := im.operand(n, i)
	if err == nil && v.c == nil {
		err = n.errorf(fmt.Sprintf("input %d", i), "got %s, which depends on the network's input, expected a constant", quote(n.inputs[i]))
	}
	return v.c, err
}

// integers returns input i, a constant list of integers.
func (im *importer) integers(n *node, i int) ([]int64, error) {
	c, err := im.constant(n, i)
	if err == nil && (c.isFloat() || len(c.dims) > 1) {
		err = n.errorf(fmt.Sprintf("input %d", i), "got dimensions %v, expected a list of integers", c.dims)
	}
	if err != nil {
		return nil, err
	}
	return c.i, nil
}
