package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/epsball/epsball/train"
)

// PageHistory is how a model was trained. A figure that is 0 in all epochs was not recorded.
type PageHistory struct {
	Source string  `json:"source"` // "card", or the file
	Epochs []Epoch `json:"epochs"` // ascending; without times
	Why    string  `json:"why,omitempty"`
}

// EpochsOfCard reads the epochs of a history as a card has it.
func EpochsOfCard(text string) ([]Epoch, error) {
	h, err := ParseHistory(text)
	if err != nil {
		return nil, err
	}
	list := make([]Epoch, len(h.Epoch))
	at := func(column []Figure, i int) float64 {
		if column == nil {
			return 0
		}
		return float64(column[i])
	}
	for i, epoch := range h.Epoch {
		list[i] = Epoch{
			Epoch: epoch, Loss: at(h.Loss, i), Clean: at(h.Clean, i), Robust: at(h.Robust, i),
			Eps: at(h.Eps, i), Kappa: at(h.Kappa, i), LR: at(h.LR, i),
		}
		if v := h.Validated; v != nil {
			list[i].Validation = &train.Validation{Images: v.Images, Clean: at(v.Clean, i), PGD: at(v.PGD, i), Certified: at(v.Certified, i), Noisy: at(v.Noisy, i)}
		}
	}
	return list, checkEpochs(list)
}

// EpochsOfLog reads the epochs of a log of train, a line of JSON each.
func EpochsOfLog(data []byte) ([]Epoch, error) {
	var list []Epoch
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var e Epoch
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return list, checkEpochs(list)
		}
		if err != nil {
			return nil, fmt.Errorf("epoch %d: want a line of JSON an epoch: %w", len(list)+1, err)
		}
		e.Seconds = 0 // differs from run to run
		list = append(list, e)
	}
}

func checkEpochs(list []Epoch) error {
	if len(list) == 0 {
		return errors.New("no epochs, want at least one")
	}
	last := 0
	for _, e := range list {
		if e.Epoch <= last {
			return fmt.Errorf("epoch: got %d after %d, want them ascending from 1 on", e.Epoch, last)
		}
		last = e.Epoch
	}
	return nil
}
