package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// CardEpochLog is the key of a model's card under which its history is.
const CardEpochLog = "history"

// ParseHistory reads the epochs of a training: a JSON list of them, as a model's card has
// it, or JSON lines, as train --log writes them. Keys are those of PageEpoch; others are
// ignored.
func ParseHistory(data []byte) ([]PageEpoch, error) {
	var list []PageEpoch
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '[' {
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("want a JSON list of epochs: %w", err)
		}
	} else {
		for d := json.NewDecoder(bytes.NewReader(data)); ; {
			var e PageEpoch
			err := d.Decode(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("epoch %d: want lines of JSON, one an epoch: %w", len(list)+1, err)
			}
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no epochs, want at least one")
	}
	last := 0
	for i, e := range list {
		if e.Epoch <= last {
			return nil, fmt.Errorf("epoch %d: epoch: got %d after %d, want them ascending from 1 on", i+1, e.Epoch, last)
		}
		last = e.Epoch
	}
	return list, nil
}
