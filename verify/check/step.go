package check

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Limits of a step, so that a hostile one costs little: nodes of its trees, splits above a
// leaf, and vectors of slopes; and of a proof, its steps.
const (
	maxTreeNodes = 1 << 21
	maxDepth     = 1 << 10
	maxSteps     = 1 << 20
)

// Step is a line of a proof by branch and bound: bounds of elements of a layer, that a row
// of the specification is above 0, or a row of a clause at each input, that the specification
// holds on parts that are all of a region, or the end.
type Step struct {
	Version int    // Trees or Regions
	Of      string // sum of the certificate's line
	Number  int    // from 1
	End     bool   // this step has nothing else

	Layer     int   // of the architecture; −1: none
	Elements  []int // ascending, channels first, of the layer's output
	Low, High []float32

	Row    int // of the specification; −1: none. Of version 2
	Clause int // of a region's specification; −1: none. Of version 3

	Slopes [][]WindowSlopes // of leaves
	Trees  []Tree           // of ends of elements; of a row or a clause, one

	Parts []Part // of a region, which they prove whole; nil: none. Of version 3
}

// Tree proves a lower bound of an element, of its opposite (High), or of a row. Nodes are
// in preorder, the active part first.
type Tree struct {
	Element int // −1: of a row
	High    bool
	Nodes   []TreeNode
	Rows    []int     // of a clause: the row of the specification that each leaf proves
	Beta    []float32 // of each leaf, of the splits above it, from the root down
}

// TreeNode is a split, or a leaf.
type TreeNode struct {
	Layer, Element int     // what the layer reads there decides; Layer −1: a leaf
	Form           int     // how many numbers the split is spelled with: 2 to 4
	At             float32 // of three
	First, Second  int     // of four: elements of what the layer reads
	Slopes         int     // of a leaf: 0: adaptive, else number of a vector of the step, from 1
}

// WindowSlopes are slopes of a relu's open elements in a window of its map, or what its planes are
// made of: where in their ranges the elements are that the layer before it reads, in a window of
// their map.
type WindowSlopes struct {
	ReLU   int
	Window [4]int // first row, row after the last; columns likewise
	Alpha  string // slopes
	Point  string // or shares of ranges, as slopes are spelled
}

// IsStep reports whether a line, or what there is of it, begins like a step as writers
// of certificates spell it.
func IsStep(line []byte) bool {
	for _, version := range []string{"2", "3"} {
		if bytes.HasPrefix(line, []byte(`{"format":"`+Format+`","version":`+version+`,"of":"`)) {
			return true
		}
	}
	return false
}

// ParseStep reads the line of a step, without its newline. It refuses whatever
// docs/certificate.md does not allow; what depends on the model is left to Proof.
func ParseStep(line []byte) (*Step, error) {
	if _, err := unseal(line); err != nil {
		return nil, err
	}
	s := &Step{Layer: -1, Row: -1, Clause: -1}
	seen, err := members(line, "step", s.set)
	if err != nil {
		return nil, err
	}
	return s, s.complete(seen)
}

func (s *Step) set(key string, val []byte) (err error) {
	switch key {
	case "format":
		return oneOf(val, new(string), Format)
	case "version":
		if err = integer(val, &s.Version); err == nil && s.Version != Trees && s.Version != Regions {
			err = fmt.Errorf("got %d, expected %d or %d", s.Version, Trees, Regions)
		}
	case "of":
		err = pattern(val, &s.Of, hashText, "64 hexadecimal digits")
	case "step":
		err = integer(val, &s.Number)
	case "end":
		if s.End = string(val) == "true"; !s.End {
			err = fmt.Errorf("got %.40q, expected true", val)
		}
	case "layer":
		err = integer(val, &s.Layer)
	case "elements":
		err = elements(val, maxTreeNodes, func(v []byte) error {
			s.Elements = append(s.Elements, 0)
			return integer(v, &s.Elements[len(s.Elements)-1])
		})
	case "low":
		s.Low, err = floats(val)
	case "high":
		s.High, err = floats(val)
	case "row":
		err = integer(val, &s.Row)
	case "clause":
		err = integer(val, &s.Clause)
	case "parts":
		s.Parts = []Part{}
		err = elements(val, maxTreeNodes, s.addPart)
	case "slopes":
		err = elements(val, maxTreeNodes, s.addSlopes)
	case "trees":
		room := maxTreeNodes
		err = elements(val, maxTreeNodes, func(v []byte) error { return s.addTree(v, &room) })
	case "sum":
	default:
		err = errors.New("unknown key")
	}
	return err
}

func (s *Step) complete(seen []string) error {
	err := need(seen, "format", "version", "of", "step")
	has := func(key string) bool { return slices.Contains(seen, key) }
	kinds := []string{"end", "layer", "row"}
	if s.Version == Regions {
		kinds = []string{"end", "layer", "clause", "parts"}
	}
	n := 0
	for _, k := range kinds {
		if has(k) {
			n++
		}
	}
	switch {
	case err != nil:
		return err
	case n != 1:
		return fmt.Errorf("step: expected one of %s and %s", strings.Join(kinds[:len(kinds)-1], ", "), kinds[len(kinds)-1])
	case s.Row >= 0 && s.Version != Trees || (s.Clause >= 0 || s.Parts != nil) && s.Version != Regions:
		return fmt.Errorf("step: got what version %d does not have", s.Version)
	case (s.End || s.Parts != nil) && (has("slopes") || has("trees")):
		return errors.New("end, parts: got slopes or trees with it")
	case s.Layer < 0 && (has("elements") || has("low") || has("high")):
		return errors.New("elements: got some without a layer")
	case s.Layer >= 0 && (len(s.Elements) == 0 || len(s.Low) != len(s.Elements) || len(s.High) != len(s.Elements)):
		return fmt.Errorf("elements: got %d with %d numbers of low and %d of high, expected as many of each, at least one", len(s.Elements), len(s.Low), len(s.High))
	case (s.Row >= 0 || s.Clause >= 0) && (len(s.Trees) != 1 || s.Trees[0].Element >= 0):
		return fmt.Errorf("trees: got %d for a row or clause, expected one, without element and end", len(s.Trees))
	}
	for i, t := range s.Trees {
		if (t.Rows != nil) != (s.Clause >= 0) {
			return fmt.Errorf("trees[%d]: rows: expected them of a clause, and of nothing else", i)
		}
		if _, stated := slices.BinarySearch(s.Elements, t.Element); s.Layer >= 0 && !stated {
			return fmt.Errorf("trees[%d]: element: got %d, expected one of elements", i, t.Element)
		}
	}
	for i, lo := range s.Low {
		if i > 0 && s.Elements[i] <= s.Elements[i-1] {
			return fmt.Errorf("elements[%d]: got %d after %d, expected them to ascend", i, s.Elements[i], s.Elements[i-1])
		}
		if !(lo <= s.High[i]) {
			return fmt.Errorf("low[%d]: got %v above %v of high", i, lo, s.High[i])
		}
	}
	return nil
}

func (s *Step) addSlopes(val []byte) error {
	vector := []WindowSlopes{}
	err := elements(val, maxBlocks, func(v []byte) error {
		w := WindowSlopes{}
		seen, err := members(v, "slopes", func(key string, val []byte) error {
			switch key {
			case "relu":
				return integer(val, &w.ReLU)
			case "window":
				return integers(val, w.Window[:])
			case "alpha":
				return plainText(val, &w.Alpha)
			case "point":
				return plainText(val, &w.Point)
			}
			return errors.New("unknown key")
		})
		if err != nil {
			return err
		}
		vector = append(vector, w)
		if slices.Contains(seen, "alpha") == slices.Contains(seen, "point") {
			return errors.New("alpha: expected one of alpha and point")
		}
		return need(seen, "relu", "window")
	})
	s.Slopes = append(s.Slopes, vector)
	return err
}

func (s *Step) addTree(val []byte, room *int) error {
	t := Tree{Element: -1}
	seen, err := members(val, "tree", func(key string, val []byte) (err error) {
		switch key {
		case "element":
			err = integer(val, &t.Element)
		case "end":
			end := ""
			err = oneOf(val, &end, "low", "high")
			t.High = end == "high"
		case "nodes":
			err = elements(val, *room, t.addNode)
			*room -= len(t.Nodes)
		case "rows":
			t.Rows = []int{}
			err = elements(val, maxTreeNodes, func(v []byte) error {
				t.Rows = append(t.Rows, 0)
				return integer(v, &t.Rows[len(t.Rows)-1])
			})
		case "beta":
			t.Beta, err = floats(val)
		default:
			err = errors.New("unknown key")
		}
		return err
	})
	if err != nil {
		return err
	}
	s.Trees = append(s.Trees, t)
	if slices.Contains(seen, "element") != slices.Contains(seen, "end") {
		return errors.New("element: expected it with end")
	}
	return need(seen, "nodes", "beta")
}

func (t *Tree) addNode(val []byte) error {
	n := TreeNode{Layer: -1}
	if !bytes.HasPrefix(val, []byte("[")) {
		t.Nodes = append(t.Nodes, n)
		return integer(val, &t.Nodes[len(t.Nodes)-1].Slopes)
	}
	var parts [4][]byte
	err := elements(val, len(parts), func(v []byte) error {
		parts[n.Form] = v
		n.Form++
		return nil
	})
	if err != nil {
		return err
	}
	into := []*int{&n.Layer, &n.Element, &n.First, &n.Second}
	switch n.Form {
	case 2, 4:
	case 3:
		into = into[:2]
		if n.At, err = float32Of(parts[2]); err != nil {
			return err
		}
	default:
		return fmt.Errorf("got a split of %d numbers, expected two to four", n.Form)
	}
	for i, v := range into[:min(n.Form, len(into))] {
		if err := integer(parts[i], v); err != nil {
			return err
		}
	}
	t.Nodes = append(t.Nodes, n)
	return nil
}

// float32Of reads a float32 that is spelled so that the nearest float64 is it.
func float32Of(val []byte) (float32, error) {
	var v float64
	if err := number(val, &v); err != nil {
		return 0, err
	}
	if f := float32(v); float64(f) == v {
		return f, nil
	}
	return 0, fmt.Errorf("got %.40s, expected a float32, spelled in full", val)
}

// integers reads an array of as many integers as v has.
func integers(val []byte, v []int) error {
	i := 0
	err := elements(val, len(v), func(e []byte) error {
		i++
		return integer(e, &v[i-1])
	})
	if err == nil && i != len(v) {
		err = fmt.Errorf("got %d integers, expected %d", i, len(v))
	}
	return err
}

// plainText reads a string without escapes.
func plainText(val []byte, s *string) error {
	if len(val) < 2 || val[0] != '"' || bytes.IndexByte(val, '\\') >= 0 {
		return errors.New("expected a string without escapes")
	}
	*s = string(val[1 : len(val)-1])
	return nil
}

// floats reads finite float32 numbers.
func floats(val []byte) ([]float32, error) {
	var s string
	if err := plainText(val, &s); err != nil {
		return nil, err
	}
	body, ok := strings.CutPrefix(s, "f32:")
	if !ok {
		return nil, fmt.Errorf("got %.20q, expected f32: and base64", s)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("got %.20q, expected base64", body)
	}
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("got %d bytes, expected 4 for each number", len(b))
	}
	out := make([]float32, len(b)/4)
	for i := range out {
		if out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])); out[i]-out[i] != 0 {
			return nil, fmt.Errorf("[%d]: got %v, expected a finite number", i, out[i])
		}
	}
	return out, nil
}
