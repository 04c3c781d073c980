package show

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a-b/c=1.5": "a-b/c=1.5", "": "''", "d#train": "'d#train'", "it's": `'it'\''s'`} {
		assert.Equal(t, want, Quote(in))
	}
}
