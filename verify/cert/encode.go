// Package cert writes certificates (docs/certificate.md): it encodes what a
// verifier has proved and streams it to a file that survives a kill. Package
// check reads them.
package cert

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// line is a certificate in the order of its keys.
type line struct {
	Format    string      `json:"format"`
	Version   int         `json:"version"`
	Model     string      `json:"model"`
	Level     string      `json:"level"`
	Data      string      `json:"data"`
	Index     int         `json:"index"`
	Input     string      `json:"input"`
	Label     *int        `json:"label,omitempty"`
	Rows      [][]float64 `json:"rows,omitempty"`
	Offsets   []float64   `json:"offsets,omitempty"`
	Norm      string      `json:"norm"`
	Eps       string      `json:"eps"`
	Run       string      `json:"run"`
	Method    string      `json:"method"`
	Certified bool        `json:"certified"`
	Margin    *float64    `json:"margin,omitempty"`
	Slopes    []slopes    `json:"slopes,omitempty"`
}

type slopes struct {
	For   any    `json:"for"`
	ReLU  int    `json:"relu"`
	Alpha string `json:"alpha"`
}

// regionLine is a certificate of a region in the order of its keys.
type regionLine struct {
	Format    string      `json:"format"`
	Version   int         `json:"version"`
	Model     string      `json:"model"`
	Level     string      `json:"level"`
	Property  string      `json:"property"`
	Index     int         `json:"index"`
	Low       string      `json:"low"`
	High      string      `json:"high"`
	Rows      [][]float64 `json:"rows"`
	Offsets   []float64   `json:"offsets"`
	Clauses   []int       `json:"clauses,omitempty"`
	Run       string      `json:"run"`
	Method    string      `json:"method"`
	Certified bool        `json:"certified"`
}

// Append appends the line of a certificate, with its newline, to dst. What is
// not Certified is written without slopes and margin. It returns an error for a
// certificate that check.Parse would not read back.
func Append(dst []byte, c *check.Certificate) ([]byte, error) {
	if r := c.Region; r != nil {
		return seal(dst, c, regionLine{
			Format: check.Format, Version: check.Regions, Model: c.Model, Level: c.Level, Property: r.Property, Index: c.Index,
			Low: Floats(r.Low), High: Floats(r.High), Rows: c.Rows, Offsets: c.Offsets, Clauses: r.Clauses, Run: c.Run,
			Method: c.Method, Certified: c.Certified,
		})
	}
	l := line{
		Format: check.Format, Version: check.Version, Model: c.Model, Level: c.Level, Data: c.Data, Index: c.Index,
		Input: c.Input, Rows: c.Rows, Offsets: c.Offsets, Norm: c.Norm, Eps: c.Eps, Run: c.Run, Method: c.Method,
		Certified: c.Certified,
	}
	if c.Method == check.BaB {
		l.Version = check.Trees
	}
	if len(c.Rows) == 0 {
		l.Label = &c.Label
	}
	if c.Certified {
		if c.Margin != 0 {
			l.Margin = &c.Margin
		}
		for _, s := range c.Slopes {
			b := slopes{s.For, s.ReLU, s.Alpha}
			switch s.For {
			case check.ForAll:
				b.For = "all"
			case check.ForRows:
				b.For = "rows"
			}
			l.Slopes = append(l.Slopes, b)
		}
	}
	return seal(dst, c, l)
}

// seal appends the line of a certificate that can be read back.
func seal(dst []byte, c *check.Certificate, line any) ([]byte, error) {
	sealed, err := journal.Seal(nil, line)
	if err == nil {
		_, err = check.Parse(bytes.TrimSuffix(sealed, []byte("\n")))
	}
	if err != nil {
		return dst, fmt.Errorf("%s: %w", Name(c), err)
	}
	return append(dst, sealed...), nil
}

// Name says what a certificate is of.
func Name(c *check.Certificate) string {
	if c.Region != nil {
		return fmt.Sprintf("certificate of region %d", c.Index)
	}
	return fmt.Sprintf("certificate of image %d", c.Index)
}

// Alpha encodes the slopes of one layer, channels first: one vector, or one for
// each row of the specification. It takes the shortest way that keeps their bits:
// bits if all are 0 or 1, bytes if all are float32(k)/255, float32 otherwise. A slope
// outside of [0, 1] is written as it is, for the checker to refuse.
func Alpha(vectors ...[]float32) string {
	bits, bytes := true, true
	for _, a := range vectors {
		for _, v := range a {
			bits = bits && (v == 0 || v == 1)
			bytes = bytes && v >= 0 && v <= 1 && float32(byteSlope(v))/255 == v
		}
	}
	var data []byte
	var name string
	switch {
	case bits:
		name = "bits:"
		for _, a := range vectors {
			from := len(data)
			data = append(data, make([]byte, (len(a)+7)/8)...)
			for i, v := range a {
				data[from+i/8] |= byte(v) << (i % 8)
			}
		}
	case bytes:
		name = "u8:"
		for _, a := range vectors {
			for _, v := range a {
				data = append(data, byteSlope(v))
			}
		}
	default:
		return Floats(vectors...)
	}
	return name + base64.StdEncoding.EncodeToString(data)
}

// Floats encodes numbers as little-endian float32, one vector after the other.
func Floats(vectors ...[]float32) string {
	var data []byte
	for _, a := range vectors {
		for _, v := range a {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	return "f32:" + base64.StdEncoding.EncodeToString(data)
}

func byteSlope(v float32) byte { return byte(math.Round(float64(v) * 255)) }

// Margin returns a lower bound to claim for one that was proved: 1 % less, in
// three digits, so that the rounding of another checker does not matter. It
// returns 0, no claim, for what has no such number.
func Margin(proved float64) float64 {
	v := proved * 0.99
	if !(v > 0x1p-1000) || math.IsInf(v, 0) {
		return 0
	}
	text := strconv.FormatFloat(v, 'e', 2, 64) // d.dde±dd
	f, _ := strconv.ParseFloat(text, 64)
	if f > v { // a step down in the third digit; math.Log10 is not the same everywhere
		digits, _ := strconv.Atoi(text[:1] + text[2:4])
		exponent, _ := strconv.Atoi(text[5:])
		if digits--; digits < 100 {
			digits, exponent = 999, exponent-1
		}
		f, _ = strconv.ParseFloat(fmt.Sprintf("%de%d", digits, exponent-2), 64)
	}
	return min(f, v)
}

// Eps spells a radius for a certificate: as it was written, if certificates
// allow that, or else in lowest terms.
func Eps(written string, exact *big.Rat) string {
	if r, err := check.ParseEps(written); err == nil && r.Cmp(exact) == 0 {
		return written
	}
	return exact.RatString()
}
