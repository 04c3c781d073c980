package check

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// What a line says of itself.
const (
	Format  = "epsball-certificate"
	Version = 1
	Trees   = 2 // version of certificates by branch and bound, whose proof is on lines of its own
	Regions = 3 // version of those of properties: of a box of inputs, likewise on lines of its own
)

// Arithmetic levels.
const (
	Real     = "real"     // exact real arithmetic over the float32 weights
	Executed = "executed" // that, and float32 execution in any order of summation
)

// Methods.
const (
	IBP        = "ibp"         // intervals through all layers
	CROWNIBP   = "crown-ibp"   // intervals, then linear bounds of the specification
	CROWN      = "crown"       // linear bounds of every layer before a ReLU, too
	AlphaCROWN = "alpha-crown" // crown with optimised slopes
	BaB        = "bab"         // branch and bound: by the steps on the lines after the certificate's
)

var (
	levels  = []string{Real, Executed}
	norms   = []string{"linf", "l2", "l1"}
	methods = []string{IBP, CROWNIBP, CROWN, AlphaCROWN, BaB}
)

// Special values of Slopes.For.
const (
	ForAll  = -1 // every bounded layer and the specification, where no other block says more
	ForRows = -2 // the rows of the specification
)

// Limits of a line, so that a hostile one costs little: its bytes, the rows of its
// specification, their coefficients in all, and blocks of slopes; and the magnitude of
// coefficients and offsets, which keeps rows of float32 outputs below what bounds may be.
const (
	MaxLine         = 64 << 20
	MaxRows         = 4096
	maxCoefficients = 1 << 20
	maxBlocks       = 1 << 16
	maxCoefficient  = 1 << 50
)

// Certificate is one line: for every image x′ within Eps of the image in Norm
// and within [0, 1], the model's outputs meet the specification, at Level. If
// Certified is false it claims nothing and records that the sample was tried.
type Certificate struct {
	Model     string // hash, see model.Model.Hash
	Level     string // Real or Executed
	Data      string // name of the data set; informative
	Index     int    // of the image in the data set
	Input     string // InputHash of the image
	Norm, Eps string // linf, l2 or l1; exact decimal or fraction
	Run       string // what the run was asked for; informative
	Method    string // IBP, CROWNIBP, CROWN, AlphaCROWN or BaB
	Certified bool
	Slopes    []Slopes
	Margin    float64 // > 0: claimed lower bound of every row; 0: only that it is above 0

	// The specification: output Label beats every other; or, with Label −1,
	// Rows[i]·outputs + Offsets[i] > 0 for every i.
	Label   int
	Rows    [][]float64
	Offsets []float64

	// Region, if not nil, is what a line of version 3 is about instead of an image and a ball:
	// Data, Input, Label, Norm, Eps, Slopes and Margin are not used then, and Index counts the
	// regions of a property.
	Region *Region

	// Sum is the seal of a line that was read and HasSteps, which these name.
	Sum string
}

// HasSteps reports whether steps belong to the certificate, on the lines after its own.
func (c *Certificate) HasSteps() bool { return c.Method == BaB && c.Certified }

// Slopes are slopes of the free lines of one layer, for one bounded layer.
type Slopes struct {
	For   int    // index of the layer whose bounds use them, ForAll or ForRows
	ReLU  int    // index of the relu, leakyrelu or clip layer
	Alpha string // encoded, see docs/certificate.md; read when the model is known
}

// InputHash returns the SHA-256, in hexadecimal, of an image's pixels, channels
// first, as little-endian float32.
func InputHash(x []float32) string {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		u := math.Float32bits(v)
		b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Seal returns the hexadecimal SHA-256 of what comes before `,"sum":` in a line.
func Seal(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

var (
	hashText = regexp.MustCompile(`^[0-9a-f]{64}$`)
	epsText  = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?|[0-9]+/[0-9]*[1-9][0-9]*)$`)
	sealText = regexp.MustCompile(`,"sum":"([0-9a-f]{64})"}$`)
)

// ParseEps reads a radius as certificates spell it: 0.1, 1e-3 or 8/255, at most
// 64 characters.
func ParseEps(s string) (*big.Rat, error) {
	if len(s) > 64 || !epsText.MatchString(s) {
		return nil, fmt.Errorf("eps: got %.80q, expected a decimal such as 0.1 or a fraction such as 8/255", s)
	}
	r := new(big.Rat)
	if num, den, ok := bytes.Cut([]byte(s), []byte("/")); ok { // SetString would take 010/255 for octal
		n, _ := new(big.Int).SetString(string(num), 10)
		d, _ := new(big.Int).SetString(string(den), 10)
		return r.SetFrac(n, d), nil
	}
	r.SetString(s)
	return r, nil
}

// Parse reads one line, without its newline. It refuses whatever
// docs/certificate.md does not allow; what depends on the model is left to
// Check.
func Parse(line []byte) (*Certificate, error) {
	sum, err := unseal(line)
	if err != nil {
		return nil, err
	}
	c, version := &Certificate{Label: -1}, 0
	seen, err := members(line, "certificate", func(key string, val []byte) error {
		if key == "version" {
			return integer(val, &version)
		}
		return c.set(key, val)
	})
	if err != nil {
		return nil, err
	}
	if c.HasSteps() {
		c.Sum = sum
	}
	return c, c.complete(seen, version)
}

// unseal returns the sum of a line that is what was written.
func unseal(line []byte) (sum string, err error) {
	if len(line) > MaxLine {
		return "", fmt.Errorf("got %d bytes, expected at most %d", len(line), MaxLine)
	}
	if !utf8.Valid(line) {
		return "", errors.New("got invalid UTF-8, expected JSON")
	}
	at := sealText.FindSubmatchIndex(line[max(0, len(line)-100):])
	if at == nil {
		return "", errors.New(`sum: expected the line to end in ,"sum":"…"}`)
	}
	tail := line[max(0, len(line)-100):]
	sum = string(tail[at[2]:at[3]])
	if sum != Seal(line[:len(line)-len(tail)+at[0]]) {
		return "", errors.New("sum: the line is not what was written")
	}
	return sum, nil
}

// set reads one member of the line.
func (c *Certificate) set(key string, val []byte) (err error) {
	switch key {
	case "format":
		return oneOf(val, new(string), Format)
	case "model":
		err = pattern(val, &c.Model, hashText, "64 hexadecimal digits")
	case "level":
		err = oneOf(val, &c.Level, levels...)
	case "data":
		err = text(val, &c.Data)
	case "run":
		err = text(val, &c.Run)
	case "index":
		err = integer(val, &c.Index)
	case "input":
		err = pattern(val, &c.Input, hashText, "64 hexadecimal digits")
	case "norm":
		err = oneOf(val, &c.Norm, norms...)
	case "eps":
		if err = text(val, &c.Eps); err == nil {
			_, err = ParseEps(c.Eps)
		}
	case "method":
		err = oneOf(val, &c.Method, methods...)
	case "certified":
		if s := string(val); s != "true" && s != "false" {
			return fmt.Errorf("got %.40q, expected true or false", s)
		}
		c.Certified = val[0] == 't'
	case "label":
		err = integer(val, &c.Label)
	case "rows":
		room := maxCoefficients
		err = elements(val, MaxRows, func(v []byte) error {
			row, err := numbers(v, room)
			c.Rows = append(c.Rows, row)
			room -= len(row)
			return err
		})
	case "offsets":
		c.Offsets, err = numbers(val, MaxRows)
	case "slopes":
		err = elements(val, maxBlocks, c.addSlopes)
	case "margin":
		if err = number(val, &c.Margin); err == nil && !(c.Margin > 0) {
			err = fmt.Errorf("got %v, expected a number above 0", c.Margin)
		}
	case "sum":
	default:
		if c.Region == nil {
			c.Region = &Region{}
		}
		err = c.Region.set(key, val)
	}
	return err
}

func (c *Certificate) addSlopes(val []byte) error {
	s := Slopes{}
	seen, err := members(val, "slopes", func(key string, val []byte) error {
		switch key {
		case "for":
			switch string(val) {
			case `"all"`:
				s.For = ForAll
			case `"rows"`:
				s.For = ForRows
			default:
				return integer(val, &s.For)
			}
		case "relu":
			return integer(val, &s.ReLU)
		case "alpha":
			if len(val) < 2 || val[0] != '"' || bytes.IndexByte(val, '\\') >= 0 {
				return errors.New("expected a string without escapes")
			}
			s.Alpha = string(val[1 : len(val)-1])
		default:
			return errors.New("unknown key")
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.Slopes = append(c.Slopes, s)
	return need(seen, "for", "relu", "alpha")
}

// complete checks that all keys are there, and none that do not go together.
func (c *Certificate) complete(seen []string, version int) error {
	if c.Region != nil || version == Regions {
		return c.completeRegion(seen, version)
	}
	err := need(seen, "format", "version", "model", "level", "data", "index", "input", "norm", "eps", "run", "method", "certified")
	has := func(key string) bool { return slices.Contains(seen, key) }
	switch {
	case err != nil:
		return err
	case version != Version && version != Trees:
		return fmt.Errorf("version: got %d, expected %d, %d or %d", version, Version, Trees, Regions)
	case has("rows") != has("offsets") || len(c.Rows) != len(c.Offsets):
		return fmt.Errorf("offsets: got %d, expected one for each of %d rows", len(c.Offsets), len(c.Rows))
	case has("label") == has("rows"):
		return errors.New("label: expected one of label and rows")
	case has("rows") && len(c.Rows) == 0:
		return errors.New("rows: got none, expected at least one")
	case !c.Certified && (has("margin") || has("slopes")):
		return errors.New("certified: got false with a margin or slopes")
	case (c.Method == IBP || c.Method == BaB) && has("slopes"):
		return fmt.Errorf("slopes: got some, expected none for %s", c.Method)
	case c.Method == BaB && has("margin"):
		return errors.New("margin: got one, expected none for bab")
	case (c.Method == BaB) != (version == Trees):
		return fmt.Errorf("method: got %s in version %d, expected bab in version %d and the others in version %d", c.Method, version, Trees, Version)
	}
	return nil
}

// members calls f for the members of a JSON object and returns their keys. It
// refuses a repeated key, which encoding/json would not.
func members(val []byte, what string, f func(key string, val []byte) error) (seen []string, err error) {
	d := json.NewDecoder(bytes.NewReader(val))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s: expected a JSON object", what)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: malformed JSON: %w", what, err)
		}
		key, _ := t.(string) // a key is a string, or Token fails
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: malformed JSON: %w", what, err)
		}
		if slices.Contains(seen, key) {
			return nil, fmt.Errorf("%.40q: got the key twice", key)
		}
		if seen = append(seen, key); len(seen) > 32 {
			return nil, fmt.Errorf("%s: too many keys", what)
		}
		if err := f(key, v); err != nil {
			return nil, fmt.Errorf("%.40s: %w", key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%s: malformed JSON: %w", what, err)
	}
	if rest := bytes.TrimSpace(val[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%s: got more after the object", what)
	}
	return seen, nil
}

func need(seen []string, keys ...string) error {
	for _, k := range keys {
		if !slices.Contains(seen, k) {
			return fmt.Errorf("%s: missing", k)
		}
	}
	return nil
}

// elements calls f for the elements of a JSON array of at most limit.
func elements(val []byte, limit int, f func([]byte) error) error {
	d := json.NewDecoder(bytes.NewReader(val))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("expected a JSON array")
	}
	for i := 0; d.More(); i++ {
		var v json.RawMessage
		if i == limit {
			return fmt.Errorf("got more than %d elements", limit)
		}
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("malformed JSON: %w", err)
		}
		if err := f(v); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil // the end has been read with the array
}

func numbers(val []byte, limit int) (v []float64, err error) {
	err = elements(val, limit, func(e []byte) error {
		v = append(v, 0)
		return number(e, &v[len(v)-1])
	})
	return v, err
}

func number(val []byte, v *float64) (err error) {
	if *v, err = strconv.ParseFloat(string(val), 64); err != nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return fmt.Errorf("got %.40q, expected a finite number", val)
	}
	return nil
}

// integer reads an integer from 0 to 2³¹−1.
func integer(val []byte, v *int) error {
	n, err := strconv.ParseUint(string(val), 10, 31)
	if err != nil {
		return fmt.Errorf("got %.40q, expected an integer from 0", val)
	}
	*v = int(n)
	return nil
}

func text(val []byte, s *string) error {
	const longest = 4096
	if len(val) == 0 || val[0] != '"' || len(val) > longest || json.Unmarshal(val, s) != nil {
		return fmt.Errorf("got %.40q, expected a string of at most %d bytes", val, longest)
	}
	return nil
}

func pattern(val []byte, s *string, p *regexp.Regexp, want string) error {
	if err := text(val, s); err != nil {
		return err
	}
	if !p.MatchString(*s) {
		return fmt.Errorf("got %.80q, expected %s", *s, want)
	}
	return nil
}

func oneOf(val []byte, s *string, choices ...string) error {
	if err := text(val, s); err != nil {
		return err
	}
	if !slices.Contains(choices, *s) {
		return fmt.Errorf("got %.40q, expected one of %q", *s, choices)
	}
	return nil
}
