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

// Unseal checks the sum of a line, without its newline, and decodes the line into v,
// a pointer to a struct. All its errors are Damaged.
func Unseal(line []byte, v any) error {
	const mark = `,"sum":"`
	at := len(line) - len(mark) - 64 - len(`"}`)
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(mark)) {
		return Damaged(errors.New(`sum: expected the line to end in ,"sum":"…"}`))
	}
	if want := mark + check.Seal(line[:at]) + `"}`; string(line[at:]) != want {
		return Damaged(errors.New("sum: the line is not what was written"))
	}
	d := json.NewDecoder(io.MultiReader(bytes.NewReader(line[:at]), bytes.NewReader([]byte("}"))))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Damaged(err)
	}
	return nil
}
