package branch

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"

	"github.com/epsball/epsball/verify"
)

// part is a part of the root domain with what is to be bounded over it: the rows of a
// clause, of which one must be positive, or a neuron.
type part struct {
	leaves []*verify.Leaf
	low    float32 // the largest bound of its leaves
	again  int     // how often it was bounded longer because nothing was left to split

	// packed is what is left of a part whose leaves are nil: its splits and their bounds.
	// Slopes and multipliers are found again.
	packed []byte
}

// best is the leaf with the largest bound.
func (p *part) best() *verify.Leaf {
	b := p.leaves[0]
	for _, l := range p.leaves {
		if l.Low > b.Low {
			b = l
		}
	}
	return b
}

func (p *part) child(s verify.Split) *part {
	c := &part{}
	for _, l := range p.leaves {
		c.leaves = append(c.leaves, l.Child(s))
	}
	return c
}

func (p *part) bound() float32 { return p.low }

func (p *part) depth() int { return len(p.leaves[0].Splits) }

func (p *part) bytes() int {
	const pointer = int(unsafe.Sizeof(p)) // in the frontier
	n := pointer + int(unsafe.Sizeof(*p)) + cap(p.packed)
	for _, l := range p.leaves {
		n += pointer + l.Bytes()
	}
	return n
}

// appendTo appends the part as it is packed: how often it was bounded longer, the number of
// its splits, each split's node with its kind, neuron with its phase, and what its kind has
// besides, and the bound of each leaf.
func (p *part) appendTo(b []byte) []byte {
	if p.leaves == nil {
		return append(b, p.packed...)
	}
	b = appendNumber(b, p.again)
	splits := p.leaves[0].Splits
	b = appendNumber(b, len(splits))
	for _, s := range splits {
		k := s.Neuron << 1
		if s.Phase == verify.Inactive {
			k |= 1
		}
		kind := p.leaves[0].Frame.Splits(s.Node)
		b = appendNumber(appendNumber(b, s.Node<<kindBits|int(kind)), k)
		switch kind {
		case verify.PointSplits, verify.KinkSplits:
			b = appendFloat(b, s.At)
		case verify.PairSplits:
			b = appendNumber(appendNumber(b, int(s.First)), int(s.Second))
		}
	}
	for _, l := range p.leaves {
		b = appendFloat(b, l.Low)
	}
	return b
}

// pack drops what can be found again, and returns how many bytes that was.
func (p *part) pack() (gain int) {
	before := p.bytes()
	b := p.appendTo(nil)
	p.packed, p.leaves = append(make([]byte, 0, len(b)), b...), nil
	return before - p.bytes()
}

// unpacked returns the leaves of a part of the tree.
func (t *tree) unpacked(p *part) []*verify.Leaf {
	if p.leaves != nil {
		return p.leaves
	}
	q, _, err := t.read(p.packed)
	if err != nil {
		panic("branch: " + err.Error()) // packed here, or read before
	}
	return q.leaves
}

var errShort = errors.New("it is cut short")

// read reads a part of the tree as appendTo writes it, and returns the bytes after it.
func (t *tree) read(b []byte) (*part, []byte, error) {
	w, rest, err := readPart(b, len(t.targets))
	if err != nil {
		return nil, nil, err
	}
	p := t.root()
	p.again = w.again
	for i, l := range p.leaves {
		l.Splits, l.Low = w.splits[:len(w.splits):len(w.splits)], w.lows[i] // Child copies it
	}
	p.low = p.best().Low
	return p, rest, nil
}

const kindBits = 3 // of a verify.SplitKind, in what a packed part says

// partText is what a packed part says.
type partText struct {
	again  int
	splits []verify.Split
	lows   []float32 // of the leaves
}

// readPart reads a part of so many leaves as appendTo writes it, and returns the bytes after it.
func readPart(b []byte, leaves int) (p partText, rest []byte, err error) {
	in := reader{b: b}
	p.again = in.number(longerTimes)
	n := in.number(len(in.b))
	p.splits = make([]verify.Split, 0, n)
	for range n {
		at := in.number(math.MaxInt32)
		s := verify.Split{Node: at >> kindBits, Phase: verify.Active}
		k := in.number(math.MaxInt32)
		if s.Neuron = k >> 1; k&1 != 0 {
			s.Phase = verify.Inactive
		}
		switch verify.SplitKind(at & (1<<kindBits - 1)) {
		case verify.PointSplits, verify.KinkSplits:
			s.At = in.float()
		case verify.PairSplits:
			s.First, s.Second = int32(in.number(math.MaxInt32)), int32(in.number(math.MaxInt32))
		}
		p.splits = append(p.splits, s)
	}
	if in.bad || len(in.b) < 4*leaves {
		return p, nil, errShort
	}
	for range leaves {
		low := in.float()
		if low != low {
			return p, nil, errors.New("its bound is NaN")
		}
		p.lows = append(p.lows, low)
	}
	return p, in.b, nil
}

func appendNumber(b []byte, v int) []byte { return binary.AppendUvarint(b, uint64(v)) }

func appendFloat(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// reader reads what appendTo writes. After what is bad there is nothing left.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number(most int) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(most) {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// float returns NaN where there is none.
func (r *reader) float() float32 {
	if len(r.b) < 4 {
		r.bad, r.b = true, nil
		return float32(math.NaN())
	}
	v := math.Float32frombits(binary.LittleEndian.Uint32(r.b))
	r.b = r.b[4:]
	return v
}
