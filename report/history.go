package report

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// mostEpochs is the number of epochs that a history keeps; of longer ones it takes some,
// evenly, and the last.
const mostEpochs = 500

// History is a training in short, as a model's card has it under CardHistory: columns of
// one figure an epoch, of four digits. A column of zeros is left out. There are no times,
// so that the same training makes the same file.
type History struct {
	Epoch     []int    `json:"epoch"`
	Loss      []Figure `json:"loss,omitempty"`
	Clean     []Figure `json:"clean,omitempty"`
	Robust    []Figure `json:"robust,omitempty"`
	Eps       []Figure `json:"eps,omitempty"`
	Kappa     []Figure `json:"kappa,omitempty"`
	LR        []Figure `json:"lr,omitempty"`
	Validated *Columns `json:"validation,omitempty"`
}

// Columns are those of validation.
type Columns struct {
	Images    int      `json:"images"`
	Clean     []Figure `json:"clean,omitempty"`
	PGD       []Figure `json:"pgd,omitempty"`
	Certified []Figure `json:"certified,omitempty"`
	Noisy     []Figure `json:"noisy,omitempty"`
}

// Figure is a number of which four digits count.
type Figure float64

// MarshalJSON writes the digits.
func (f Figure) MarshalJSON() ([]byte, error) {
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', 4, 64), 64)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// NewHistory shortens the epochs of a training.
func NewHistory(epochs []Epoch) *History {
	var picked []Epoch
	every := (len(epochs) + mostEpochs - 1) / mostEpochs
	for i, e := range epochs {
		if (len(epochs)-1-i)%every == 0 {
			picked = append(picked, e)
		}
	}
	h := &History{}
	for _, e := range picked {
		h.Epoch = append(h.Epoch, e.Epoch)
	}
	column := func(value func(e *Epoch) float64) []Figure {
		list, zero := []Figure{}, true
		for i := range picked {
			v := value(&picked[i])
			list, zero = append(list, Figure(v)), zero && v == 0
		}
		if zero {
			return nil
		}
		return list
	}
	h.Loss, h.Clean = column(func(e *Epoch) float64 { return e.Loss }), column(func(e *Epoch) float64 { return e.Clean })
	h.Robust, h.Eps = column(func(e *Epoch) float64 { return e.Robust }), column(func(e *Epoch) float64 { return e.Eps })
	h.Kappa, h.LR = column(func(e *Epoch) float64 { return e.Kappa }), column(func(e *Epoch) float64 { return e.LR })
	if len(picked) > 0 && picked[0].Validation != nil {
		h.Validated = &Columns{
			Images:    picked[0].Validation.Images,
			Clean:     column(func(e *Epoch) float64 { return e.Validation.Clean }),
			PGD:       column(func(e *Epoch) float64 { return e.Validation.PGD }),
			Certified: column(func(e *Epoch) float64 { return e.Validation.Certified }),
			Noisy:     column(func(e *Epoch) float64 { return e.Validation.Noisy }),
		}
	}
	return h
}

// String returns the history as a card has it.
func (h *History) String() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic("report: a history has a number that JSON does not: " + err.Error()) // training has stopped before
	}
	return string(b)
}

// ParseHistory reads what a card has under CardHistory.
func ParseHistory(text string) (*History, error) {
	h := &History{}
	if err := json.Unmarshal([]byte(text), h); err != nil {
		return nil, fmt.Errorf("card: %s: %w", CardHistory, err)
	}
	columns := map[string][]Figure{
		"loss": h.Loss, "clean": h.Clean, "robust": h.Robust, "eps": h.Eps, "kappa": h.Kappa, "lr": h.LR,
	}
	if v := h.Validated; v != nil {
		columns["validation.clean"], columns["validation.pgd"], columns["validation.certified"] = v.Clean, v.PGD, v.Certified
	}
	for name, c := range columns {
		if c != nil && len(c) != len(h.Epoch) {
			return nil, fmt.Errorf("card: %s: %s: got %d figures, want %d, one an epoch", CardHistory, name, len(c), len(h.Epoch))
		}
	}
	return h, nil
}
