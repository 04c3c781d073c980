package page_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/report/page"
	"github.com/epsball/epsball/train"
)

func picture(t *testing.T, w, h int) report.Picture {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))))
	return report.Picture{PNG: b.Bytes(), Width: w, Height: h}
}

// sample is a page of n models with something in every section.
func sample(t *testing.T, n int) *report.Page {
	f := func(v float64) *float64 { return &v }
	seed := uint64(1)
	p := &report.Page{
		Envelope: report.Envelope{Epsball: report.Header{Command: "report", Version: "v1"}, ISA: "avx2", Threads: 2, Seed: &seed, Data: "d.npz"},
		Line:     "epsball report --n 4", Norm: "linf", Eps: 0.1, EpsExact: "0.1", N: 4, Classes: 3, Input: "1x2x2",
		Radii:   []report.PageRadius{{Eps: 0.05, Exact: "0.05"}, {Eps: 0.1, Exact: "0.1"}},
		Attacks: []string{"fgsm", "pgd:steps=5,seed=1"}, Bounds: "crown", Resolution: 0.025, Tried: 4, Gain: 5,
		Images:  []report.PageImage{{Index: 3, Label: 2, Picture: picture(t, 2, 2)}},
		Timings: &report.PageTimings{Machine: "m", Seconds: 2},
	}
	for i := range n {
		m := report.PageModel{
			Network: report.Network{Name: fmt.Sprint("model-", i), Input: "1x2x2", Classes: 3, Card: map[string]string{"method": "pgd", "eps": "0.1"}},
			Clean:   f(0.75), Certified: []int{-1, 0, 2, 4}, Confusion: [][]int{{1, 0, 0, 0}, {0, 1, 1, 0}, {0, 1, 0, 0}},
			Points: []report.PagePoint{
				{NotFooled: []*float64{f(0.75), f(0.5)}, Standing: f(0.5), Certified: f(0.5)},
				{NotFooled: []*float64{f(0.75), f(0.25)}, Standing: f(0.25), Certified: f(0.25)},
			},
			Checks: []report.PageChecks{{Attack: "fgsm", Checks: []audit.Finding{
				{Name: "inside", Verdict: audit.OK, Images: []int{}, Detail: "4 of 4 images inside"},
				{Name: "one-step", Verdict: audit.Warn, Count: 1, Images: []int{3}, Detail: "pgd finds more"},
			}}},
			History: &report.PageHistory{Source: "card", Epochs: []report.Epoch{
				{Epoch: 1, Loss: 2.3, Clean: 0.1, LR: 0.1}, {Epoch: 2, Loss: 0.3, Clean: 0.9, Validation: &train.Validation{Images: 5, PGD: 0.8}, Eps: 0.1, LR: 0.01},
			}},
			Gallery:   []report.PageShown{{Attack: "pgd:steps=5,seed=1", Fooled: true, Was: 2, Before: 0.9, Is: 1, After: 0.6, Distance: 0.1, Adversarial: picture(t, 2, 2), Difference: picture(t, 2, 2)}},
			Gradients: &report.PageSlopes{Pictures: []report.Picture{picture(t, 2, 2)}, Linear: 0.07},
			Filters:   &report.PageFilters{Shape: []int{4, 1, 3, 3}, Shown: 4, Columns: 4, Picture: picture(t, 15, 3), Reach: 1.5},
		}
		p.Models = append(p.Models, m)
		p.Timings.Models = append(p.Timings.Models, report.PageTiming{Forward: 1e4, Steps: []float64{1e3, 2e3}, Proofs: 3, Seconds: 1})
	}
	return p
}

func draw(t *testing.T, p *report.Page) string {
	var b bytes.Buffer
	require.NoError(t, page.Write(&b, p))
	return b.String()
}

// element is one of a page, which is well-formed XML, too.
type element struct {
	name  string
	attr  map[string]string
	text  string
	child []*element
}

func (e *element) all(name string) (list []*element) {
	for _, c := range e.child {
		if c.name == name {
			list = append(list, c)
		}
		list = append(list, c.all(name)...)
	}
	return list
}

func (e *element) words() string {
	s := e.text
	for _, c := range e.child {
		s += c.words()
	}
	return s
}

func parse(t *testing.T, html string) *element {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(html, "<!DOCTYPE html>")))
	d.Entity = xml.HTMLEntity
	root := &element{}
	stack := []*element{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root.child[0]
		}
		require.NoError(t, err, "not well-formed")
		top := stack[len(stack)-1]
		switch x := token.(type) {
		case xml.StartElement:
			e := &element{name: x.Name.Local, attr: map[string]string{}}
			for _, a := range x.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			top.child = append(top.child, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(x)
		}
	}
}

// examine checks what holds for every page.
func examine(t *testing.T, html string) *element {
	root := parse(t, html)
	assert.Equal(t, "en", root.attr["lang"])
	ids := map[string]bool{}
	var walk func(e *element)
	walk = func(e *element) {
		if id := e.attr["id"]; id != "" {
			assert.False(t, ids[id], "id %q is there twice", id)
			ids[id] = true
		}
		for name, v := range e.attr {
			if strings.HasPrefix(name, "on") {
				t.Errorf("<%s> has %s=%q", e.name, name, v)
			}
		}
		for _, c := range e.child {
			walk(c)
		}
	}
	walk(root)
	for _, a := range root.all("a") {
		assert.NotEmpty(t, a.words())
		assert.True(t, ids[strings.TrimPrefix(a.attr["href"], "#")], "link to %s", a.attr["href"])
	}
	for _, img := range root.all("img") {
		assert.NotEmpty(t, img.attr["alt"])
		assert.True(t, strings.HasPrefix(img.attr["src"], "data:image/png;base64,"), img.attr["src"])
	}
	for _, s := range root.all("svg") {
		if s.attr["role"] == "" { // within another
			continue
		}
		for id := range strings.FieldsSeq(s.attr["aria-labelledby"]) {
			assert.True(t, ids[id], "svg is labelled by %s", id)
		}
		assert.NotEmpty(t, s.attr["aria-labelledby"])
	}
	for _, table := range root.all("table") {
		require.Len(t, table.all("caption"), 1)
		assert.NotEmpty(t, table.all("caption")[0].words())
		assert.NotEmpty(t, table.all("th"))
		head := len(table.all("thead")[0].all("th"))
		for _, row := range table.all("tbody")[0].all("tr") {
			assert.Len(t, row.child, head)
		}
	}
	for _, name := range []string{"script", "link", "iframe", "object", "form"} {
		assert.Empty(t, root.all(name), name)
	}
	for _, s := range root.all("style") {
		assert.NotContains(t, s.text, "url(")
		assert.NotContains(t, s.text, "@import")
	}
	level := 0
	for _, line := range strings.Split(html, "<h")[1:] {
		if n := int(line[0] - '0'); n >= 1 && n <= 6 {
			assert.LessOrEqual(t, n, level+1, "heading %.30s", line)
			level = n
		}
	}
	assert.Len(t, root.all("main"), 1)
	assert.Len(t, root.all("h1"), 1)
	return root
}

func section(t *testing.T, root *element, id string) *element {
	for _, s := range root.all("section") {
		if s.attr["id"] == id {
			return s
		}
	}
	require.Fail(t, "no section "+id)
	return nil
}

func TestWrite(t *testing.T) {
	for _, n := range []int{1, 3} {
		p := sample(t, n)
		html := draw(t, p)
		assert.Equal(t, html, draw(t, p), "the same bytes")
		root := examine(t, html)
		assert.Len(t, root.all("section"), 12)
		overview := section(t, root, "overview").words()
		assert.Contains(t, overview, "model-0 classifies 75% correctly; pgd leaves 25% of all images, and 25% are certified.")
		assert.Contains(t, overview, "75% (30.1–95.4)", "Wilson's interval of 3 in 4")
		assert.Contains(t, section(t, root, "section-security").words(), "from ε = 0.1 on, attacks fool more than half of the images that it classifies correctly. Every image is either fooled or proved.")
		assert.Contains(t, section(t, root, "section-radii").words(), "half of the images have a certified radius of 0.05 or more, and 1 image the largest one that was tried")
		assert.Contains(t, section(t, root, "section-training").words(), "2 epochs, loss from 2.3 to 0.3. In the last epoch, 90% of the training images are classified correctly. Of 5 images held back, 0% are classified correctly, 80% are not fooled by PGD, and 0% are certified.")
		assert.Contains(t, section(t, root, "section-gallery").words(), "fooled by pgd: 2 (90%) → 1 (60%)")
		assert.Contains(t, section(t, root, "section-confusion").words(), "misclassifies 2 images. Most often, label 1 is taken for 2 (1 time).")
		assert.Contains(t, section(t, root, "section-checks").words(), "pgd finds more")
		assert.Contains(t, section(t, root, "section-made").words(), "epsball report \\\n  --n 4")
		assert.NotContains(t, root.words(), "robust accuracy", "an attack's result goes by the attack's name")
		assert.Len(t, section(t, root, "section-gallery").all("img"), 1+2*n)
		charts := 1 + 1 + n + n + n*4 + 4
		count := 0
		for _, f := range root.all("figure") {
			if d := f.all("details"); len(d) > 0 {
				count++
				assert.NotEmpty(t, d[0].all("tbody")[0].child)
			}
		}
		assert.Equal(t, charts, count, "each chart has its numbers beneath")
	}
}

// TestTradeoff: ties are told, and what may be chance.
func TestTradeoff(t *testing.T) {
	p := sample(t, 3)
	of := func(clean, left float64, m *report.PageModel) {
		m.Clean, m.Points[1].NotFooled[1], m.Points[1].Standing, m.Points[1].Certified = &clean, &left, &left, nil
	}
	found := func() string { return section(t, examine(t, draw(t, p)), "section-tradeoff").words() }
	assert.Contains(t, found(), "model-0 keeps the most, as do model-1 and model-2: 25% are not fooled by pgd. No model here classifies more images correctly than its 75%.")
	p.N, p.Models[0].Certified, p.Models[1].Certified, p.Models[2].Certified = 10000, nil, nil, nil
	of(0.75, 0.5, &p.Models[2])
	of(0.875, 0.25, &p.Models[1])
	text := found()
	assert.Contains(t, text, "model-2 keeps the most: 50% are not fooled by pgd. It classifies 75% of the images correctly, 12.5 points less than the most accurate model, model-1, of which pgd leaves 25%.")
	assert.NotContains(t, text, "chance")
	of(0.874, 0.5, &p.Models[2])
	of(0.87, 0.5, &p.Models[0])
	text = found()
	assert.Contains(t, text, "model-2 keeps the most, as does model-0")
	assert.Contains(t, text, "0.1 points less than the most accurate model, model-1, of which pgd leaves 25%. A difference in clean accuracy as small as that may be chance on 10000 images.")
}

// TestTimings: nothing else of the page depends on them.
func TestTimings(t *testing.T) {
	p := sample(t, 2)
	before := draw(t, p)
	p.ISA, p.Threads, p.Timings.Seconds, p.Timings.Machine = "generic", 64, 1000, "other"
	p.Timings.Models[0] = report.PageTiming{Forward: 5, Steps: []float64{6, 7}, Proofs: 8, Seconds: 9}
	after := draw(t, p)
	cut := func(html string) string {
		from, to := strings.Index(html, `<section id="section-timings"`), strings.Index(html, "</main>")
		return html[:from] + html[to:]
	}
	assert.NotEqual(t, before, after)
	assert.Equal(t, cut(before), cut(after))
}

// TestHostile: names and texts of a model are shown as they are, and are never markup.
func TestHostile(t *testing.T) {
	p := sample(t, 2)
	const bad = `</style></svg><script>alert("1")</script>' onload='x & ]]> {{.}}`
	p.Models[0].Name, p.Data, p.Line, p.EpsExact, p.Radii[1].Exact = bad, bad, bad, bad, bad
	p.Models[1].Card = map[string]string{bad: bad, "method": bad, "eps": bad}
	p.Attacks[0], p.Models[0].Checks[0].Attack, p.Models[0].Gallery[0].Attack = bad, bad, bad
	p.Models[0].Checks[0].Checks[1].Detail = bad
	p.Models[0].History.Source = bad
	p.Left = []string{bad}
	root := examine(t, draw(t, p))
	assert.Contains(t, root.words(), bad)
}

// TestIncomplete: whatever is missing, there is a page that says so.
func TestIncomplete(t *testing.T) {
	p := sample(t, 2)
	p.Left = []string{"model-1: pgd at 0.1"}
	m := &p.Models[1]
	m.Points[1].NotFooled[1], m.Points[1].Standing, m.Points[0].Certified = nil, nil, nil
	root := examine(t, draw(t, p))
	assert.Contains(t, root.words(), "This page is incomplete.")
	assert.Contains(t, root.words(), "model-1: pgd at 0.1")

	for _, m := range []*report.PageModel{&p.Models[0], &p.Models[1]} {
		*m = report.PageModel{Network: m.Network}
	}
	p.Images, p.Timings = nil, nil
	root = examine(t, draw(t, p))
	assert.Contains(t, root.words(), "no history recorded")
}

func TestVariants(t *testing.T) {
	p := sample(t, 1)
	p.NoPictures, p.Images = "images have 5 channels", nil
	m := &p.Models[0]
	m.Gallery, m.Gradients.Pictures, m.Filters.Why = nil, nil, "filters of 5 channels are no pictures"
	m.History = &report.PageHistory{Source: "card", Why: "bad"}
	m.Confusion[0] = []int{0, 0, 0, 1} // logits that are no numbers
	root := examine(t, draw(t, p))
	for _, want := range []string{"images have 5 channels", "filters of 5 channels", "the history in its card cannot be read: bad", "none"} {
		assert.Contains(t, root.words(), want)
	}

	p = sample(t, 1) // too many classes for a matrix
	p.Classes = 30
	for y := range 30 {
		row := make([]int, 31)
		row[(y+y%2)%30] = 1
		if y == 0 {
			p.Models[0].Confusion = nil
		}
		p.Models[0].Confusion = append(p.Models[0].Confusion, row)
	}
	root = examine(t, draw(t, p))
	assert.Contains(t, section(t, root, "section-confusion").words(), "the most frequent confusions")
}

func TestRefused(t *testing.T) {
	p := sample(t, 1)
	p.Models[0].Gallery[0].Adversarial.PNG = []byte("<svg onload=x>")
	var b bytes.Buffer
	require.ErrorContains(t, page.Write(&b, p), "models[0].gallery[0]: png: want a PNG file")
	assert.Zero(t, b.Len())
	require.Error(t, page.WriteParts(t.TempDir(), p))
}

func TestWriteParts(t *testing.T) {
	p, dir := sample(t, 2), t.TempDir()
	require.NoError(t, page.WriteParts(dir, p))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, slices.Sorted(slices.Values(page.Folders())), names)
	charts, err := filepath.Glob(filepath.Join(dir, "charts", "*.svg"))
	require.NoError(t, err)
	assert.Len(t, charts, 1+1+2+2+2*4+4)
	for _, path := range charts {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "svg", parse(t, string(b)).name)
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "pictures", "*.png"))
	require.NoError(t, err)
	assert.Len(t, pictures, 1+2*(2+1+1))
	for _, path := range pictures {
		f, err := os.Open(path)
		require.NoError(t, err)
		_, err = png.Decode(f)
		require.NoError(t, errors.Join(err, f.Close()))
	}
	f, err := os.Open(filepath.Join(dir, "data", page.Results))
	require.NoError(t, err)
	defer f.Close()
	r, err := report.Read(f)
	require.NoError(t, err)
	assert.Equal(t, draw(t, p), draw(t, r.(*report.Page)), "the results are all that a page needs")
}
