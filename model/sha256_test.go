package model

import (
	stdsha "crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSHA256: the standard library's sums, for every length around the blocks and
// however the message is cut.
func TestSHA256(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	msg := make([]byte, 1000)
	for i := range msg {
		msg[i] = byte(rnd.Uint32())
	}
	for n := range 300 {
		s := newSHA256()
		s.write(msg[:n])
		require.Equal(t, stdsha.Sum256(msg[:n]), s.sum(), n)
	}
	for range 300 {
		n := rnd.IntN(len(msg) + 1)
		s := newSHA256()
		for rest := msg[:n]; len(rest) > 0; {
			k := min(len(rest), rnd.IntN(150))
			s.write(rest[:k])
			rest = rest[k:]
		}
		require.Equal(t, stdsha.Sum256(msg[:n]), s.sum(), n)
	}
}

func BenchmarkHash(b *testing.B) {
	a, err := Preset("mnist-small")
	require.NoError(b, err)
	m, err := Random(a, 1)
	require.NoError(b, err)
	b.SetBytes(4 * m.Arch.Parameters())
	for b.Loop() {
		m.Hash()
	}
}
