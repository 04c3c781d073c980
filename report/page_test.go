package report_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

func newPage(t *testing.T) *report.Page {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 3))))
	picture := report.Picture{PNG: b.Bytes(), Width: 2, Height: 3}
	f := func(v float64) *float64 { return &v }
	return &report.Page{
		Envelope: report.Envelope{Epsball: report.Header{Command: "report", Version: "v1"}, Data: "d"},
		Norm:     "linf", Eps: 0.1, EpsExact: "0.1", N: 2, Classes: 2, Input: "1x3x2", Radii: []report.PageRadius{{Eps: 0.1, Exact: "0.1"}, {Eps: 0.2, Exact: "0.2"}},
		Attacks: []string{"pgd:steps=40"}, Bounds: "crown", Resolution: 0.01, Tried: 20,
		Images: []report.PageImage{{Index: 1, Picture: picture}},
		Models: []report.PageModel{{
			Network: report.Network{Name: "m"}, Clean: f(1), Certified: []int{3, -1}, Confusion: [][]int{{1, 0, 0}, {1, 0, 0}},
			Points:    []report.PagePoint{{NotFooled: []*float64{f(0.5)}, Standing: f(0.5), Certified: f(0.5)}, {NotFooled: []*float64{nil}}},
			Checks:    []report.PageChecks{{Attack: "pgd:steps=40", Checks: []audit.Finding{{Name: "inside", Verdict: audit.OK, Images: []int{}}}}},
			Gallery:   []report.PageShown{{Adversarial: picture, Difference: picture}},
			Gradients: &report.PageSlopes{Pictures: []report.Picture{picture}},
			Filters:   &report.PageFilters{Shape: []int{1, 1, 3, 2}, Picture: picture},
		}},
		Timings: &report.PageTimings{Models: []report.PageTiming{{Steps: []float64{1}}}},
	}
}

func TestPage(t *testing.T) {
	p := newPage(t)
	require.NoError(t, p.Check())
	back := again(t, p).(*report.Page)
	require.NoError(t, back.Check())
	assert.Regexp(t, `model +clean +PGD-40 +certified\n─+\nm +100.00% +50.00% +50.00%\nlinf ε = 0.1, 2 images of d; proofs by crown\n$`, p.Text())
	p.Models[0].Points, p.Left, p.Out, p.Parts = nil, []string{"m: pgd"}, "-", "parts"
	assert.Contains(t, p.Text(), "m      100.00%       –          –\n–: not run")
	assert.Contains(t, p.Text(), "written: to standard output, parts\n")
}

func TestPageCheck(t *testing.T) {
	half, two := 0.5, 2.0
	for want, change := range map[string]func(p *report.Page){
		"n: got 0":                   func(p *report.Page) { p.N = 0 },
		"classes: got 1":             func(p *report.Page) { p.Classes = 1 },
		"models: none":               func(p *report.Page) { p.Models = nil },
		"attacks: none":              func(p *report.Page) { p.Attacks = nil },
		"resolution: got 0":          func(p *report.Page) { p.Resolution = 0 },
		"tried: got 1099511627776":   func(p *report.Page) { p.Tried = 1 << 40 },
		"radii: want eps_exact":      func(p *report.Page) { p.EpsExact = "0.3" },
		"radii[1]: got 0.1":          func(p *report.Page) { p.Radii[1].Eps = 0.1 },
		"images[0].picture: png":     func(p *report.Page) { p.Images[0].Picture.PNG = nil },
		"images[0].picture: got a":   func(p *report.Page) { p.Images[0].Picture.Width = 1 << 30 },
		"timings.models: got 0":      func(p *report.Page) { p.Timings.Models = nil },
		"timings.models[0].attack":   func(p *report.Page) { p.Timings.Models[0].Steps = nil },
		"models[0].clean: got 2":     func(p *report.Page) { p.Models[0].Clean = &two },
		"models[0].points: got 1":    func(p *report.Page) { p.Models[0].Points = p.Models[0].Points[:1] },
		"models[0].points[0].not_f":  func(p *report.Page) { p.Models[0].Points[0].NotFooled = nil },
		"models[0].points[0]: got 2": func(p *report.Page) { p.Models[0].Points[0].NotFooled[0] = &two },
		"models[0].points[1]: got ce": func(p *report.Page) {
			p.Models[0].Points[1].Certified, p.Models[0].Points[1].Standing = &half, new(float64)
		},
		"models[0].certified_radii: ": func(p *report.Page) { p.Models[0].Certified = []int{1} },
		"models[0].certified_radii[1": func(p *report.Page) { p.Models[0].Certified[1] = 21 },
		"models[0].confusion: got 1":  func(p *report.Page) { p.Models[0].Confusion = p.Models[0].Confusion[:1] },
		"models[0].confusion[1]: got": func(p *report.Page) { p.Models[0].Confusion[1][0] = -1 },
		"models[0].confusion[0]: got": func(p *report.Page) { p.Models[0].Confusion[0] = nil },
		"models[0].checks[0].checks":  func(p *report.Page) { p.Models[0].Checks[0].Checks[0].Verdict = "good" },
		"models[0].gallery: got 2":    func(p *report.Page) { p.Models[0].Gallery = append(p.Models[0].Gallery, p.Models[0].Gallery...) },
		"models[0].gallery[0]: png":   func(p *report.Page) { p.Models[0].Gallery[0].Difference.PNG = []byte("GIF89a") },
		"models[0].gradients.picture": func(p *report.Page) { p.Models[0].Gradients.Pictures = nil },
		"models[0].filters.picture: ": func(p *report.Page) { p.Models[0].Filters.Picture.Height = 0 },
		"models[0].history: epoch: g": func(p *report.Page) {
			p.Models[0].History = &report.PageHistory{Epochs: []report.Epoch{{Epoch: 2}, {Epoch: 2}}}
		},
		"models[0].filters.shape: no": func(p *report.Page) { p.Models[0].Filters.Shape = nil },
	} {
		p := newPage(t)
		change(p)
		err := p.Check()
		require.Error(t, err, want)
		assert.True(t, strings.HasPrefix(err.Error(), want), "got %q, want %q", err, want)
	}
}

func TestEpochs(t *testing.T) {
	want := []report.Epoch{
		{Epoch: 1, Loss: 2.5, LR: 0.1, Validation: &train.Validation{Images: 10, PGD: 0.5}},
		{Epoch: 2, Loss: 0.25, Clean: 0.75, LR: 0.01, Validation: &train.Validation{Images: 10, PGD: 0.75, Certified: 0.5}},
	}
	list, err := report.EpochsOfCard(report.NewHistory(want).String())
	require.NoError(t, err)
	assert.Equal(t, want, list)
	var log bytes.Buffer
	for _, e := range want {
		e.Seconds = 3
		require.NoError(t, json.NewEncoder(&log).Encode(e))
	}
	list, err = report.EpochsOfLog(log.Bytes())
	require.NoError(t, err)
	assert.Equal(t, want, list)
	for text, want := range map[string]string{
		"":                            "no epochs",
		"[1]":                         "epoch 1: want a line of JSON",
		`{"epoch":1}` + "\nx":         "epoch 2: want a line of JSON",
		`{"epoch":1,"loss":"a"}`:      "epoch 1: want a line of JSON",
		`{"epoch":0}`:                 "epoch: got 0 after 0",
		`{"epoch":2}` + `{"epoch":2}`: "epoch: got 2 after 2",
	} {
		_, err := report.EpochsOfLog([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	for text, want := range map[string]string{
		"lost": "card: history", "{}": "no epochs", `{"epoch":[2,1]}`: "epoch: got 1 after 2", `{"epoch":[1,2],"loss":[1]}`: "loss: got 1 figures",
	} {
		_, err := report.EpochsOfCard(text)
		require.ErrorContains(t, err, want, text)
	}
}
