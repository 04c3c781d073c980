package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/epsball/epsball/verify/check"
)

// Seal appends v, a struct, to dst as a line: one JSON object, closed by the key sum,
// the SHA-256 of what precedes it.
func Seal(dst []byte, v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	body, ok := bytes.CutSuffix(buf.Bytes(), []byte("}\n"))
	if !ok || len(body) < 2 {
		return dst, fmt.Errorf("journal: %T is no object with keys", v)
	}
	dst = append(dst, body...)
	return append(dst, `,"sum":"`+check.Seal(body)+"\"}\n"...), nil
}

// Body checks the sum of a line, without its newline, and returns what precedes it. All its
// errors are Damaged.
func Body(line []byte) ([]byte, error) {
	const mark = `,"sum":"`
	at := len(line) - len(mark) - 64 - len(`"}`)
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(mark)) {
		return nil, Damaged(errors.New(`sum: expected the line to end in ,"sum":"…"}`))
	}
	if want := mark + check.Seal(line[:at]) + `"}`; string(line[at:]) != want {
		return nil, Damaged(errors.New("sum: the line is not what was written"))
	}
	return line[:at], nil
}

// Sum returns the sum at the end of a sealed line, with its newline.
func Sum(line []byte) string {
	end := len(line) - len("\"}\n")
	return string(line[end-64 : end])
}

// Unseal checks the sum of a line, without its newline, and decodes the line into v,
// a pointer to a struct. All its errors are Damaged.
func Unseal(line []byte, v any) error {
	body, err := Body(line)
	if err != nil {
		return err
	}
	d := json.NewDecoder(io.MultiReader(bytes.NewReader(body), bytes.NewReader([]byte("}"))))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Damaged(err)
	}
	return nil
}
