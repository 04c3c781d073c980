package runlog

import (
	"fmt"

	"github.com/epsball/epsball/verify/check"
)

// Of names a run: only lines of the same one can be gone on with.
type Of struct {
	Model string // hash of the network
	Data  string // the data set as named
	Run   string // everything else that the outcome depends on
	First int    // index of the first image in the data set
}

// head is how each line of a journal begins.
type head struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Model   string `json:"model"`
	Data    string `json:"data"`
	Run     string `json:"run"`
	Index   int    `json:"index"` // in the data set
	Input   string `json:"input"` // hash of the image, as certificates have it
	Label   int    `json:"label"`
}

// images are those that lines of one format are about.
type images struct {
	of      Of
	format  string
	version int
	x       []float32
	y       []int // labels
}

// image returns image i of x, which has some that are as large as these.
func (m *images) image(x []float32, i int) []float32 {
	size := len(m.x) / len(m.y)
	return x[i*size : (i+1)*size]
}

// head begins the line of image i.
func (m *images) head(i int) head {
	return head{
		Format: m.format, Version: m.version, Model: m.of.Model, Data: m.of.Data, Run: m.of.Run,
		Index: m.of.First + i, Input: check.InputHash(m.image(m.x, i)), Label: m.y[i],
	}
}

// find returns the position of the image that a line is of; −1: it is none of these. A line
// of another run is an error.
func (m *images) find(h *head) (int, error) {
	for _, f := range []struct{ name, got, want string }{
		{"format", fmt.Sprintf("%s %d", h.Format, h.Version), fmt.Sprintf("%s %d", m.format, m.version)},
		{"model", h.Model, m.of.Model},
		{"data", h.Data, m.of.Data},
		{"run", h.Run, m.of.Run},
	} {
		if f.got != f.want {
			return 0, fmt.Errorf("%s: got %.200q, but this run has %.200q", f.name, f.got, f.want)
		}
	}
	if i := h.Index - m.of.First; i >= 0 && i < len(m.y) {
		return i, nil
	}
	return -1, nil
}

// fresh checks that a line is of image i as it is here, and the first of it.
func (m *images) fresh(h *head, i int, done bool) error {
	switch {
	case done:
		return fmt.Errorf("image %d is there already", h.Index)
	case h.Input != check.InputHash(m.image(m.x, i)) || h.Label != m.y[i]:
		return fmt.Errorf("image %d: not the image or the label of data %s", h.Index, m.of.Data)
	}
	return nil
}
