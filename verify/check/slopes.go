package check

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/model"
)

// alpha holds the slopes of one layer, channels first, as stated: one vector,
// or one for each row of the specification. Vectors start at a byte.
type alpha struct {
	bits   int // of one slope: 1, 8 or 32
	data   []byte
	stride int // bytes of a vector
	size   int // elements of a vector
	byRow  bool
}

// encodings lists the bits of one slope of each.
var encodings = map[string]int{"bits": 1, "u8": 8, "f32": 32}

// Adaptive is the Alpha of slopes that the checker sets from its own bounds.
const Adaptive = "adaptive"

// readAlpha decodes slopes for a layer of size elements; as many vectors as rows may
// be stated. The length is checked before anything is allocated.
func readAlpha(s string, size, rows int) (*alpha, error) {
	name, body, _ := strings.Cut(s, ":")
	a := &alpha{bits: encodings[name], size: size}
	if a.bits == 0 {
		return nil, fmt.Errorf("alpha: got %.20q, expected adaptive, or bits:, u8: or f32: and base64", name)
	}
	a.stride = (size*a.bits + 7) / 8
	enc := base64.StdEncoding.Strict()
	if n := len(body); n != enc.EncodedLen(a.stride) && n != enc.EncodedLen(a.stride*rows) {
		return nil, fmt.Errorf("alpha: got %d characters, expected %d for %d slopes", n, enc.EncodedLen(a.stride), size)
	}
	var err error
	if a.data, err = enc.DecodeString(body); err != nil {
		return nil, fmt.Errorf("alpha: %w", err)
	}
	switch len(a.data) {
	case a.stride:
		rows = 1
	case a.stride * rows:
		a.byRow = true
	default: // some lengths share that of their base64
		return nil, fmt.Errorf("alpha: got %d bytes, expected %d for %d slopes", len(a.data), a.stride, size)
	}
	for row := range rows {
		if a.bits == 1 && size%8 != 0 && a.data[(row+1)*a.stride-1]>>(size%8) != 0 {
			return nil, errors.New("alpha: got bits beyond the last slope")
		}
		for i := range size {
			if v := a.at(row, i); !(v >= 0 && v <= 1) {
				return nil, fmt.Errorf("alpha: got a slope of %v, expected one in [0, 1]", v)
			}
		}
	}
	return a, nil
}

func (a *alpha) at(row, i int) float64 {
	data := a.data[row*a.stride:]
	switch a.bits {
	case 1:
		return float64(data[i/8] >> (i % 8) & 1)
	case 8:
		return float64(data[i]) / 255
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
}

// fill writes the slopes for one row, channels last.
func (a *alpha) fill(dst []float64, row int, s model.Shape) {
	if !a.byRow {
		row = 0
	}
	for i := range dst {
		dst[i] = a.at(row, channelsFirst(i, s))
	}
}

// slopesFor tells which slopes a bounded node and a node of free lines use; nil:
// adaptive.
type slopesFor map[[2]int]*alpha

// readSlopes checks every block of the certificate against the network. Keys
// are nodes, or ForAll and ForRows, and the node that has the slopes.
func (n *network) readSlopes(c *Certificate, rows int) (slopesFor, error) {
	out := slopesFor{}
	for i, s := range c.Slopes {
		a, key, err := n.readBlock(c.Method, s, rows)
		if err != nil {
			return nil, fmt.Errorf("slopes[%d]: %w", i, err)
		}
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("slopes[%d]: got slopes for the same layers twice", i)
		}
		out[key] = a
	}
	return out, nil
}

func (n *network) readBlock(method string, s Slopes, rows int) (*alpha, [2]int, error) {
	key := [2]int{s.For, s.ReLU + 1}
	ok := s.ReLU >= 0 && key[1] < len(n.nodes)
	if ok {
		_, ok = n.nodes[key[1]].op.(stated)
	}
	if !ok {
		return nil, key, fmt.Errorf("relu: got layer %d, expected a relu, leakyrelu or clip layer", s.ReLU)
	}
	if s.For != ForRows {
		rows = 1
	}
	if s.For >= 0 {
		key[0] = s.For + 1
		if method == CROWNIBP || key[0] >= len(n.nodes) || !n.bounded(key[0]) || key[0] <= key[1] {
			return nil, key, fmt.Errorf("for: got layer %d, expected one that %s bounds, after layer %d", s.For, method, s.ReLU)
		}
	}
	if s.Alpha == Adaptive {
		return nil, key, nil
	}
	a, err := readAlpha(s.Alpha, n.nodes[key[1]].shape.Size(), rows)
	return a, key, err
}

// of returns the slopes of a node for a bounded node or ForRows.
func (s slopesFor) of(bounded, relu int) *alpha {
	if a, ok := s[[2]int{bounded, relu}]; ok {
		return a
	}
	return s[[2]int{ForAll, relu}]
}
