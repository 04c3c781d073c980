package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// rewrite returns a checkpoint with its header changed.
func rewrite(t *testing.T, file []byte, change func(h *header)) []byte {
	t.Helper()
	n := int(binary.LittleEndian.Uint64(file[len(magic):]))
	body := file[len(magic)+8 : len(file)-sha256.Size]
	var h header
	require.NoError(t, json.Unmarshal(body[:n], &h))
	change(&h)
	head, err := json.Marshal(h)
	require.NoError(t, err)
	b := binary.LittleEndian.AppendUint64([]byte(magic), uint64(len(head)))
	return seal(append(append(b, head...), body[n:]...))
}

// seal appends the right checksum.
func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b[:len(b):len(b)], sum[:]...)
}

// newTestStepper returns a stepper over a copy of m's weights, on two threads.
func newTestStepper(t testing.TB, m *model.Model, d *dataset.Set, c *Config) *stepper {
	t.Helper()
	require.NoError(t, c.validate())
	n, err := net.Compile(m.Clone(), net.Options{Backward: true, Batches: net.LargeBatches})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	t.Cleanup(pool.Close)
	return newStepper(c, n, &data{d.X, d.Y}, pool)
}

// unpack returns the adversarial points of the last step, channels first.
func (s *stepper) unpack(images int) [][]float32 {
	in := s.net.Input()
	out := make([][]float32, images)
	for i := range out {
		for _, p := range s.parts {
			if g := i / kernels.Lanes; g >= p.from && g < p.to {
				out[i] = make([]float32, in.Size())
				net.LaneGroups.Unpack(out[i], p.adv, in, i-p.from*kernels.Lanes)
			}
		}
	}
	return out
}

// thorough skips a test where -short asks for less: of races, say, it tells nothing that
// shorter tests do not.
func thorough(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short")
	}
}
