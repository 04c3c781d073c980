package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/atomicfile"
)

// Figures are what is known of one model: fractions of N test images.
type Figures struct {
	Name      string  `json:"name"`
	Hash      string  `json:"hash"`
	Data      string  `json:"data"`
	Eps       string  `json:"eps"` // of the Linf ball
	N         int     `json:"n"`
	Clean     float64 `json:"clean"`
	FGSM      float64 `json:"fgsm"`
	PGD       float64 `json:"pgd"` // 40 steps
	Auto      float64 `json:"auto"`
	Intervals float64 `json:"certified_ibp"`
	Certified float64 `json:"certified"` // by the best bound, α-CROWN

	HardN int `json:"hard_n"` // of the images, evenly apart, for Auto and Certified
}

func (f *Figures) String() string {
	return fmt.Sprintf("%s (%.12s…) on %d images of %s, ε %s: clean %v, fgsm %v, pgd %v, certified by intervals %v; on %d: auto %v, certified by alpha-crown %v",
		f.Name, f.Hash, f.N, f.Data, f.Eps, f.Clean, f.FGSM, f.PGD, f.Intervals, f.HardN, f.Auto, f.Certified)
}

type list []Figures

func read(path string) (list, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var l list
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func (l list) write(path string) error {
	b, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, append(b, '\n'))
}

// of returns the figures of a model, nil if there are none.
func (l list) of(name string) *Figures {
	if i := slices.IndexFunc(l, func(f Figures) bool { return f.Name == name }); i >= 0 {
		return &l[i]
	}
	return nil
}

// with returns the list with f in the place of what it had of that model.
func (l list) with(f *Figures) list {
	if old := l.of(f.Name); old != nil {
		*old = *f
		return l
	}
	return append(l, *f)
}

// table is that of docs/models.md, by name.
func (l list) table() string {
	var b strings.Builder
	b.WriteString("| model | ε | clean | FGSM | PGD-40 | certified, intervals | images | auto | certified, alpha-crown |\n|---|---|---|---|---|---|---|---|---|\n")
	byName := func(f, g Figures) int { return strings.Compare(f.Name, g.Name) }
	for _, f := range slices.SortedFunc(slices.Values(l), byName) {
		fmt.Fprintf(&b, "| %s | %s", f.Name, f.Eps)
		for _, v := range []float64{f.Clean, f.FGSM, f.PGD, f.Intervals} {
			fmt.Fprintf(&b, " | %.2f", 100*v)
		}
		fmt.Fprintf(&b, " | %d | %.2f | %.2f |\n", f.HardN, 100*f.Auto, 100*f.Certified)
	}
	return b.String()
}
