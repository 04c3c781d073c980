package checkpoint

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// floats are float32, little-endian, in base64: infinities are numbers here.
type floats []float32

func encode(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// MarshalText writes them.
func (v floats) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, encode(v)), nil
}

// UnmarshalText reads them.
func (v *floats) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(b)%4 != 0 {
		return fmt.Errorf("got %.20q, want float32 in base64", text)
	}
	*v = make(floats, 0, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		*v = append(*v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return nil
}

// decide is audit.DecideState.
type decide struct {
	Stage    int    `json:"stage"`
	Open     []int  `json:"open"`
	Low      floats `json:"low"`     // one
	Witness  floats `json:"witness"` // none: empty
	Question int    `json:"question"`

	Search map[int]*search `json:"search"` // by question

	Record bool           `json:"record,omitempty"`
	Proofs map[int][]byte `json:"proofs,omitempty"` // by question
}

// search is branch.State.
type search struct {
	Options string     `json:"options"`
	Low     floats     `json:"low"` // one
	Parts   int        `json:"parts"`
	Depth   int        `json:"depth"`
	Bounds  []interval `json:"bounds"`
	Trees   []tree     `json:"trees"`
	Budget  int        `json:"budget"`
	Node    int        `json:"node"`
	Better  bool       `json:"better"`
	Neurons []tree     `json:"neurons"`
	Cells   []byte     `json:"cells"`
	Share   bool       `json:"share"`
	Record  []byte     `json:"record,omitempty"`
}

type interval struct {
	Lower floats `json:"lower"`
	Upper floats `json:"upper"`
}

type tree struct {
	Targets []target `json:"targets"`
	Left    int      `json:"left"`
	Parts   []byte   `json:"parts"`
	Closed  []byte   `json:"closed,omitempty"`
}

type target struct {
	Row    int  `json:"row"`
	Node   int  `json:"node"`
	Neuron int  `json:"neuron"`
	Minus  bool `json:"minus"`
}

func newDecide(st *audit.DecideState) decide {
	d := decide{Stage: st.Stage, Open: st.Open, Low: floats{st.Low}, Witness: st.Witness, Question: st.Question, Search: map[int]*search{}, Record: st.Record}
	for q, p := range st.Proofs {
		if d.Proofs == nil {
			d.Proofs = map[int][]byte{}
		}
		d.Proofs[q] = p.AppendTo(nil)
	}
	for q, s := range st.Search {
		d.Search[q] = newSearch(s)
	}
	return d
}

func newSearch(s *branch.State) *search {
	w := &search{
		Options: s.Options, Low: floats{s.Low}, Parts: s.Parts, Depth: s.Depth, Budget: s.Budget, Share: s.Share,
		Node: s.Node, Better: s.Better, Cells: s.Cells, Trees: newTrees(s.Trees), Neurons: newTrees(s.Neurons), Record: s.Record,
	}
	for _, iv := range s.Bounds {
		w.Bounds = append(w.Bounds, interval{iv.Lower, iv.Upper})
	}
	return w
}

func newTrees(list []branch.SavedTree) (out []tree) {
	for _, t := range list {
		c := tree{Left: t.Left, Parts: t.Parts, Closed: t.Closed}
		for _, g := range t.Targets {
			c.Targets = append(c.Targets, target(g))
		}
		out = append(out, c)
	}
	return out
}

// one returns the number of a field that has one.
func one(field string, v floats) (float32, error) {
	if len(v) != 1 {
		return 0, fmt.Errorf("%s: got %d numbers, want one", field, len(v))
	}
	return v[0], nil
}

func (d *decide) state() (*audit.DecideState, error) {
	low, err := one("state.low", d.Low)
	if err != nil {
		return nil, err
	}
	st := &audit.DecideState{Stage: d.Stage, Open: d.Open, Low: low, Question: d.Question, Search: map[int]*branch.State{}, Record: d.Record}
	for q, b := range d.Proofs {
		if st.Proofs == nil {
			st.Proofs = map[int]*branch.Record{}
		}
		if st.Proofs[q], err = branch.ReadRecord(b); err != nil {
			return nil, fmt.Errorf("state.proofs.%d: %w", q, err)
		}
	}
	if len(d.Witness) > 0 {
		st.Witness = d.Witness
	}
	for q, s := range d.Search {
		field := fmt.Sprintf("state.search.%d", q)
		if s == nil {
			return nil, fmt.Errorf("%s: got null, want a search", field)
		}
		if st.Search[q], err = s.state(field); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (s *search) state(field string) (*branch.State, error) {
	low, err := one(field+".low", s.Low)
	if err != nil {
		return nil, err
	}
	st := &branch.State{
		Options: s.Options, Low: low, Parts: s.Parts, Depth: s.Depth, Budget: s.Budget, Share: s.Share,
		Node: s.Node, Better: s.Better, Cells: s.Cells, Trees: trees(s.Trees), Neurons: trees(s.Neurons), Record: s.Record,
	}
	for _, iv := range s.Bounds {
		st.Bounds = append(st.Bounds, verify.Interval{Lower: iv.Lower, Upper: iv.Upper})
	}
	return st, nil
}

func trees(list []tree) (out []branch.SavedTree) {
	for _, t := range list {
		c := branch.SavedTree{Left: t.Left, Parts: t.Parts, Closed: t.Closed}
		for _, g := range t.Targets {
			c.Targets = append(c.Targets, verify.Target(g))
		}
		out = append(out, c)
	}
	return out
}
