package sha256

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAgreesWithStandardLibrary: every length around the ends of blocks, written whole
// and in pieces, and with sums taken on the way.
func TestAgreesWithStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for n := range 300 {
		want := sha256.Sum256(data[:n])
		d := New()
		_, err := d.Write(data[:n])
		require.NoError(t, err)
		require.Equal(t, want[:], d.Sum(nil), "%d bytes", n)
	}
	for range 200 {
		d, n := New(), 0
		for n < len(data) {
			k := min(len(data)-n, r.IntN(200))
			_, err := d.Write(data[n : n+k])
			require.NoError(t, err)
			n += k
			want := sha256.Sum256(data[:n])
			require.Equal(t, want[:], d.Sum(nil))
		}
	}
	require.Len(t, New().Sum([]byte{1}), 1+Size)
}

func FuzzAgreesWithStandardLibrary(f *testing.F) {
	f.Add([]byte("abc"), 1)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		cut = min(max(cut, 0), len(data))
		d := New()
		_, _ = d.Write(data[:cut])
		_, _ = d.Write(data[cut:])
		want := sha256.Sum256(data)
		require.Equal(t, want[:], d.Sum(nil))
	})
}
