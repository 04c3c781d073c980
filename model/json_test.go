package model

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestStringsAsEncodingJSON: a hash must not depend on which library wrote a name.
func TestStringsAsEncodingJSON(t *testing.T) {
	for r := rune(0); r <= 0x2fff; r++ { // what is beyond needs no escapes
		if !utf8.ValidRune(r) {
			continue
		}
		s := "a" + string(r) + "b"
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(s))
		got := appendString([]byte("x"), s)
		if "x"+want.String() != string(got)+"\n" {
			require.Equal(t, "x"+want.String(), string(got)+"\n", "%U", r)
		}
		back, err := parseString(got[1:], "name")
		if err != nil || back != s {
			require.NoError(t, err)
			require.Equal(t, s, back)
		}
	}
}
