package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// What is in a folder of property files.
const (
	onnxPart      = "onnx"
	vnnlibPart    = "vnnlib"
	instancesFile = "instances.csv"
)

// exportProperties writes a folder with the questions of certify about a model.
func (a *app) exportProperties(ctx context.Context, spec string, f *exportFlags, change func(*model.Model) (*model.Model, []int, error)) error {
	release, err := f.folder.Claim(f.out.force, []outfile.Input{{Spec: spec}, {Flag: "data", Spec: f.data.Spec}})
	if err != nil {
		return err
	}
	defer release()
	m, err := a.loadModel(spec)
	if err != nil {
		return err
	}
	if m, _, err = change(m); err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	if err := a.load(&f.data, m, spec); err != nil {
		return err
	}
	if err := f.data.Labelled(); err != nil {
		return err
	}
	s, err := input.NewSubject(m, spec, &f.data.Data, a.isa, a.threads)
	if err != nil {
		return err
	}
	defer s.Pool.Close()
	pred, err := s.Predict(ctx, s.X, len(s.Y))
	if err != nil {
		return err
	}
	p := &propertyFolder{ctx: ctx, f: f, s: s, pred: pred, name: input.Name(spec)}
	if p.network, p.copied, err = f.networkFile(spec, m); err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	if p.right() == 0 {
		return undecided("no image is classified as its label: there is no property to write")
	}
	if err := f.folder.Write(p.fill); err != nil {
		return err
	}
	r := &report.Properties{
		Envelope: a.envelope("export", s), Model: spec, Out: f.folder.Path, Network: p.onnx(), Copied: p.copied, Version: versions[f.version.v].String(),
		Norm: f.norm.v.String(), Offset: f.data.Offset, N: len(s.Y), Misclassified: len(s.Y) - p.right(), Written: len(p.rows), Timeout: f.timeout,
	}
	r.Data = f.data.Spec
	for _, eps := range f.radii.v {
		r.Eps = append(r.Eps, eps.String())
	}
	return a.report(r)
}

// networkFile returns the bytes of the network that the properties are about. They are the
// given file's if that is an ONNX network of which nothing was changed on reading.
// VNN-LIB 2 states the shape of the input, which that of a file of ours is sure to have.
func (f *exportFlags) networkFile(spec string, m *model.Model) (data []byte, copied bool, err error) {
	if formats.IsONNX(spec) && versions[f.version.v].Major == 1 {
		changed := slices.ContainsFunc([]string{onnx.CardNotes, onnx.CardOrder, onnx.CardEnd, onnx.CardType}, func(key string) bool { return m.Card[key] != "" })
		data, same, err := onnx.ReadAlone(spec)
		if !changed && err == nil && same.Hash() == m.Hash() {
			return data, true, nil
		}
	}
	data, err = onnx.Encode(m)
	return data, false, err
}

// propertyFolder is what is written.
type propertyFolder struct {
	ctx     context.Context
	f       *exportFlags
	s       *input.Subject
	pred    []int
	name    string // of the model
	network []byte
	copied  bool
	rows    [][]string // of instances.csv
}

// onnx is the path of the network in the folder.
func (p *propertyFolder) onnx() string { return path.Join(onnxPart, p.name+outfile.ONNX) }

// right counts the images that are classified as their labels.
func (p *propertyFolder) right() (n int) {
	for i, y := range p.s.Y {
		if p.pred[i] == y {
			n++
		}
	}
	return n
}

func (p *propertyFolder) fill(dir string) error {
	for _, part := range p.f.folder.Parts {
		if err := os.Mkdir(filepath.Join(dir, part), 0o777); err != nil {
			return err
		}
	}
	if err := atomicfile.WriteBytes(filepath.Join(dir, filepath.FromSlash(p.onnx())), p.network); err != nil {
		return err
	}
	for _, eps := range p.f.radii.v {
		for i := range p.s.Y {
			if p.pred[i] != p.s.Y[i] {
				continue
			}
			if err := p.ctx.Err(); err != nil {
				return err
			}
			if err := p.property(dir, i, eps); err != nil {
				return err
			}
		}
	}
	return atomicfile.Write(filepath.Join(dir, instancesFile), func(w io.Writer) error {
		return csv.NewWriter(w).WriteAll(p.rows)
	})
}

// property writes the file of an image and a radius.
func (p *propertyFolder) property(dir string, i int, eps net.Epsilon) error {
	size := p.s.Net.Input().Size()
	q, err := query.Ball(p.s.Model, p.s.X[i*size:][:size], p.s.Y[i], eps, versions[p.f.version.v])
	if err != nil {
		return err
	}
	at := p.f.data.Offset + i
	name := path.Join(vnnlibPart, fmt.Sprintf("image_%d_eps_%s.vnnlib", at, strings.ReplaceAll(eps.String(), "/", "_")))
	p.rows = append(p.rows, []string{p.onnx(), name, strconv.Itoa(p.f.timeout)})
	// Durable or not is for the file system to say: whoever loses power exports again.
	file, err := os.Create(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	fmt.Fprintf(w, "; Is there an image within %s of image %d that is not classified as %d?\n", eps, at, p.s.Y[i])
	if err = vnnlib.Write(w, q); err == nil {
		err = w.Flush()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}
