package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
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
