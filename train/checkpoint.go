package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// A checkpoint file is
//
//	magic           8 bytes, "EPSTRN2\n"
//	header length   uint64, little-endian
//	header          JSON, see header
//	model           a model file (safetensors)
//	state           float32 little-endian, each array in the model's order: that of the
//	                optimiser, the mean of the weights, the weights of the best epoch;
//	                the perturbations of free
//	kept            with overfitting stop and fallback, a checkpoint to go back to
//	SHA-256         of all the bytes before
//
// EPSTRN1 files, of which a running training was the only reader, are refused.
const (
	magic     = "EPSTRN2\n"
	maxHeader = 16 << 20
)

// header is the JSON part of a checkpoint.
type header struct {
	Config        Config  `json:"config"`
	TrainEps      string  `json:"trainEps"`           // exact
	ValidationEps string  `json:"validationEps"`      // exact
	Step          int     `json:"step"`               // steps done
	Sums          sums    `json:"sums"`               // of the epoch under way
	History       []Epoch `json:"history"`            // of the epochs done
	Averaged      int     `json:"averaged,omitempty"` // what is in the mean of the weights; 0: there is none yet
	Best          int     `json:"best,omitempty"`     // the epoch whose weights are held; 0: none
	Data          string  `json:"data"`               // SHA-256 of the training set
	Model         int     `json:"model"`              // bytes of the model file
	Kept          int     `json:"kept,omitempty"`     // bytes of the checkpoint to go back to
	Alarm         *Alarm  `json:"alarm,omitempty"`    // what ended the training, or the method's attack
}

// save writes the checkpoint; it replaces an older one all at once.
func (t *Trainer) save() error {
	if t.c.Checkpoint == "" {
		return nil
	}
	if t.dataHash == "" {
		t.dataHash = hashData(t.data)
	}
	b, err := t.encode()
	if err == nil {
		err = atomicfile.WriteBytes(t.c.Checkpoint, b)
	}
	if err != nil {
		return fmt.Errorf("train: checkpoint %s: %w", t.c.Checkpoint, err)
	}
	t.saved = len(t.history)
	return nil
}

func (t *Trainer) encode() ([]byte, error) {
	m, err := t.model.Encode()
	if err != nil {
		return nil, err
	}
	head := header{
		Config: t.c, TrainEps: t.c.TrainEps.String(), ValidationEps: t.c.ValidationEps.String(),
		Step: t.step, Sums: t.sum, History: t.history, Best: t.bestOf, Data: t.dataHash, Model: len(m),
		Kept: len(t.kept), Alarm: t.alarm,
	}
	if t.average != nil {
		head.Averaged = t.average.count
	}
	h, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(magic)+8+len(h)+3*len(m)+sha256.Size)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h)))
	b = append(b, h...)
	b = append(b, m...)
	finite := true
	t.each(func(v []float32) {
		for _, f := range v {
			finite = finite && f-f == 0
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
	})
	b = append(b, t.kept...)
	if !finite {
		return nil, fmt.Errorf("the state of the optimiser is not finite: %w", ErrDiverged)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// Resume returns a trainer that goes on from the checkpoint at path, with the same data
// and the checkpoint's configuration, to the very weights of a run that was never
// interrupted. It writes its checkpoints to path again. A file that is not a sound
// checkpoint, and data that is not the checkpoint's, is an *Error; a file that cannot be
// read is the file system's error, wrapped.
func Resume(path string, d *dataset.Set, h Host) (*Trainer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	h.Checkpoint = path
	t, err := decode(b, d, h)
	if err != nil {
		return nil, inFile(err, path)
	}
	return t, nil
}

func decode(b []byte, d *dataset.Set, host Host) (*Trainer, error) {
	h, m, state, err := split(b)
	if err != nil {
		return nil, err
	}
	c := h.Config
	c.Host = host
	if c.TrainEps, err = net.ParseEpsilon(h.TrainEps); err != nil {
		return nil, &Error{Field: "header.trainEps", Got: fmt.Sprintf("%.80q", h.TrainEps), Want: "a radius", Err: err}
	}
	if c.ValidationEps, err = net.ParseEpsilon(h.ValidationEps); err != nil {
		return nil, &Error{Field: "header.validationEps", Got: fmt.Sprintf("%.80q", h.ValidationEps), Want: "a radius", Err: err}
	}
	t, err := New(m, d, c)
	if err != nil {
		return nil, err
	}
	if got := hashData(d); got != h.Data {
		return nil, fieldErr("data", "a set with SHA-256 "+got, "the one trained on, %.64s", h.Data)
	}
	t.dataHash = h.Data
	if err := t.restore(h); err != nil {
		return nil, err
	}
	if state, err = t.takeKept(h, state); err != nil {
		return nil, err
	}
	return t, t.load(state)
}

// split cuts a checkpoint into its parts and checks all that can be checked
// without the data.
func split(b []byte) (h header, m *model.Model, state []byte, err error) {
	if len(b) < len(magic)+8+sha256.Size || !bytes.HasPrefix(b, []byte(magic)) {
		return h, nil, nil, fieldErr("magic", fmt.Sprintf("%.8q and %d bytes in all", b[:min(len(b), 8)], len(b)), "a checkpoint of epsball train, which starts with %q", magic)
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[len(body):]) {
		return h, nil, nil, fieldErr("SHA-256", hex.EncodeToString(b[len(body):]), "%x: the file is damaged or cut short", sum)
	}
	body = body[len(magic):]
	n := binary.LittleEndian.Uint64(body)
	body = body[8:]
	if n > maxHeader || n > uint64(len(body)) {
		return h, nil, nil, fieldErr("header length", n, "at most the %d bytes left", min(maxHeader, len(body)))
	}
	dec := json.NewDecoder(bytes.NewReader(body[:n]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return h, nil, nil, &Error{Field: "header", Got: err.Error(), Want: "the JSON of a checkpoint", Err: err}
	}
	body = body[n:]
	if h.Model < 0 || h.Model > len(body) {
		return h, nil, nil, fieldErr("header.model", h.Model, "0 … %d, the bytes left", len(body))
	}
	m, err = model.Decode(body[:h.Model], "")
	if err != nil {
		return h, nil, nil, &Error{Field: "model", Got: err.Error(), Err: err}
	}
	return h, m, body[h.Model:], nil
}

// restore puts the trainer where the header says it was.
func (t *Trainer) restore(h header) error {
	if h.Step < 0 || h.Step > t.c.Epochs*t.perEpoch {
		return fieldErr("header.step", h.Step, "0 … %d", t.c.Epochs*t.perEpoch)
	}
	epochs, rest := h.Step/t.perEpoch, h.Step%t.perEpoch
	unseen := rest == 0 && epochs > 0 && len(h.History) == epochs-1 // stopped on its way through validation
	if len(h.History) != epochs && !unseen {
		return fieldErr("header.history", fmt.Sprintf("%d epochs", len(h.History)), "%d, those done after %d steps", epochs, h.Step)
	}
	for i, e := range h.History {
		if e.Epoch != i+1 {
			return fieldErr(fmt.Sprintf("header.history[%d].epoch", i), e.Epoch, "%d", i+1)
		}
	}
	best := 0
	if keep.choice(&t.c) == "best" {
		best = t.c.lead(h.History, 0)
	}
	if h.Best != best {
		return fieldErr("header.best", h.Best, "%d", best)
	}
	if h.Averaged < 0 || h.Averaged > h.Step || h.Averaged > 0 && t.average == nil {
		return fieldErr("header.averaged", h.Averaged, "0, or what a mean of weights holds")
	}
	t.step, t.sum, t.history, t.bestOf, t.saved = h.Step, h.Sums, h.History, h.Best, len(h.History)
	if h.Averaged > 0 {
		t.average.count = h.Averaged
		t.average.begin()
	}
	if h.Best > 0 {
		t.best = cloneParams(t.model.Params)
	}
	return t.restoreAlarm(h)
}

// each calls f for every array of the state in the order of the file.
func (t *Trainer) each(f func([]float32)) {
	t.s.opt.each(f)
	if t.average != nil {
		eachArray(t.average.mean, f)
	}
	eachArray(t.best, f)
	t.s.each(f)
}

// load reads the state that a checkpoint holds.
func (t *Trainer) load(b []byte) error {
	want := 0
	t.each(func(v []float32) { want += 4 * len(v) })
	if len(b) != want {
		return fieldErr("state", fmt.Sprintf("%d bytes", len(b)), "%d, a float32 for each number", want)
	}
	var err error
	at := 0
	t.each(func(v []float32) {
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
			if v[i] != v[i] || math.IsInf(float64(v[i]), 0) {
				err = fieldErr(fmt.Sprintf("state[%d]", at/4), v[i], "a finite number")
			}
			at += 4
		}
	})
	return err
}

// hashData names a set by its shape, pixels and labels.
func hashData(d *dataset.Set) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d\n", d.Len(), d.C, d.H, d.W)
	buf := make([]byte, 0, 1<<16)
	for i, v := range d.X {
		buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		if len(buf) == cap(buf) || i == len(d.X)-1 {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	for _, y := range d.Y {
		h.Write(binary.LittleEndian.AppendUint32(buf, uint32(y)))
	}
	return hex.EncodeToString(h.Sum(nil))
}
