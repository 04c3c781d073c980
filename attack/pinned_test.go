package attack

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// pinned are the hashes of what FGSM and PGD find, as they were when each attack
// was a configuration of one loop.
var pinned = map[string]string{
	"dlr l2":          "48fb0a2405ec1388",
	"fgsm l2":         "99c40cc9dd701381",
	"fgsm random":     "c9e66547b48a95f1",
	"fgsm":            "a1b7518205b804a0",
	"margin restarts": "44d22954fff029d8",
	"pgd l2":          "6d3e503f5acc55bc",
	"pgd":             "4cd01631d47d840f",
	"targeted":        "141169118dad9e74",
}

// hash covers all that a Result says of the images, to the bit.
func (r *Result) hash() string {
	h := sha256.New()
	for _, v := range []any{r.Adv, r.Margin, r.Clean, r.Success, r.Linf, r.L2, r.ImageSteps} {
		if err := binary.Write(h, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// TestPinnedBits: the attacks find the same points, to the bit, as ever.
func TestPinnedBits(t *testing.T) {
	s := newSetup(t, tiny, 1, 45, "")
	s.y[3] = (s.y[3] + 1) % 5
	for name, c := range configs() {
		if want, ok := pinned[name]; ok {
			require.Equal(t, want, s.run(t, c, Batch{X: s.x, Y: s.y}, 2).hash(), name)
		}
	}
}
