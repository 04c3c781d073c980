// Package checkpoint holds the file that verify goes on from, and of which jobs deal out shares:
// how far a decision has come.
package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/net"
)

// kind is what a file says that it is; its number goes up with the format.
const kind = "epsball verify 3"

// Of says what a checkpoint is of. It serves no other model, question or program: it says
// that bounds are proved.
type Of struct {
	Version   string // of the program
	Model     string // hash
	Questions string // Hash
}

// file is a line of JSON, sealed by the SHA-256 of what is before it.
type file struct {
	Kind      string `json:"checkpoint"`
	Version   string `json:"version"`
	Model     string `json:"model"`
	Questions string `json:"questions"`
	State     decide `json:"state"`
}

// Encode returns what Write writes.
func Encode(of Of, st *audit.DecideState) ([]byte, error) {
	return journal.Seal(nil, &file{kind, of.Version, of.Model, of.Questions, newDecide(st)})
}

// Write replaces the file at path all at once.
func Write(path string, of Of, st *audit.DecideState) error {
	line, err := Encode(of, st)
	if err == nil {
		err = atomicfile.WriteBytes(path, line)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return nil
}

// Read returns the state in the file at path, which must be whole and of what is asked.
// Whether it makes sense, Decide says. Errors name the file and the field.
func Read(path string, of Of) (*audit.DecideState, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	st, err := Decode(data, of)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return st, nil
}

// Decode returns the state in what Encode returned.
func Decode(data []byte, of Of) (*audit.DecideState, error) {
	const start = `{"checkpoint":"epsball verify `
	if !bytes.HasPrefix(data, []byte(start)) {
		return nil, fmt.Errorf("start: got %.30q, want a checkpoint of epsball verify, which starts with %s", data[:min(len(data), 30)], start)
	}
	line, ok := bytes.CutSuffix(data, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("end: got %d bytes without a newline at the end, want one: the file is cut short", len(data))
	}
	var f file
	if err := journal.Unseal(line, &f); err != nil {
		return nil, err
	}
	for _, c := range []struct{ field, got, want string }{
		{"checkpoint", f.Kind, kind},
		{"version", f.Version, of.Version},
		{"model", f.Model, of.Model},
		{"questions", f.Questions, of.Questions},
	} {
		if c.got != c.want {
			return nil, fmt.Errorf("%s: got %.80q, want %q: it is of another run", c.field, c.got, c.want)
		}
	}
	return f.State.state()
}

// Hash names questions by what they ask.
func Hash(questions []audit.Question) string {
	h := sha256.New()
	rationals := func(list []*big.Rat) {
		fmt.Fprintln(h, len(list))
		for _, r := range list {
			fmt.Fprintln(h, r.RatString())
		}
	}
	property := func(p *net.Property) {
		fmt.Fprintln(h, len(p.C), len(p.D), p.Clauses == nil, p.Clauses)
		_, _ = h.Write(encode(p.C))
		_, _ = h.Write(encode(p.D))
	}
	for i := range questions {
		q := &questions[i]
		rationals(q.Box.Lo)
		rationals(q.Box.Hi)
		property(q.Proves)
		property(q.Refutes)
	}
	return hex.EncodeToString(h.Sum(nil))
}
