package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/train"
)

// Overfitting is a train.Overfitting in the spelling of this package's JSON.
type Overfitting struct {
	Abnormal  float64 `json:"abnormal"`
	OneStep   float64 `json:"one_step"`
	MultiStep float64 `json:"multi_step"`
	Images    int     `json:"images"`
	Action    string  `json:"action,omitempty"`
}

// OverfittingAlarm is a train.Alarm, likewise.
type OverfittingAlarm struct {
	Epoch int `json:"epoch"`
	Overfitting
}

func newOverfitting(o *train.Overfitting) *Overfitting {
	if o == nil {
		return nil
	}
	p := Overfitting(*o)
	return &p
}

// NewOverfittingAlarm spells an alarm, nil if there was none.
func NewOverfittingAlarm(a *train.Alarm) *OverfittingAlarm {
	if a == nil {
		return nil
	}
	return &OverfittingAlarm{a.Epoch, Overfitting(a.Seen)}
}

// OverfittingText says what there was of catastrophic overfitting; nothing if there was
// none.
func (r *Train) OverfittingText() string {
	if a := r.Alarm; a != nil {
		if a.Action == "stop" {
			return fmt.Sprintf("catastrophic in epoch %d: stopped with the weights from before it", a.Epoch)
		}
		return fmt.Sprintf("catastrophic in epoch %d: from there on PGD of 7 steps", a.Epoch)
	}
	var warned []string
	for _, e := range r.Epochs {
		if e.Overfitting != nil && e.Overfitting.Action != "" {
			warned = append(warned, strconv.Itoa(e.Epoch))
		}
	}
	if warned == nil {
		return ""
	}
	return fmt.Sprintf("catastrophic after %s: %s", show.Count(len(warned), "epoch"), strings.Join(warned, ", "))
}
