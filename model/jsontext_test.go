package model

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// marshal is encoding/json's spelling of a string without the escapes for HTML.
func marshal(t *testing.T, s string) string {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(s))
	return strings.TrimSuffix(buf.String(), "\n")
}

// sameJSON checks the hand-written JSON text against encoding/json: what is valid,
// what strings mean, how they are written.
func sameJSON(t *testing.T, data []byte) {
	t.Helper()
	require.Equal(t, marshal(t, string(data)), string(appendString(nil, string(data))))
	if !utf8.Valid(data) {
		return // checkJSON refuses it before
	}
	require.Equal(t, json.Valid(data), scanJSON(data) == nil, "%q", data)
	var want string
	if val := trim(data); len(val) > 0 && val[0] == '"' && json.Unmarshal(val, &want) == nil {
		require.Equal(t, want, unquote(val), "%q", data)
	}
}

var jsonTexts = []string{
	``, ` `, `{}`, `[]`, ` [ ] `, `{ }`, `{"a":1}`, `{"a" : [1, 2.5, -3e4, 0.1E+2, 1e-3]}`, `{"a":1,}`, `[1,]`, `[,1]`,
	`[1 2]`, `{"a"}`, `{"a":}`, `{a:1}`, `{1:2}`, `{"a":1 "b":2}`, `[`, `]`, `{`, `}`, `[}`, `{]`, `[[]`, `[]]`, `null`,
	`nul`, `nulll`, `true`, `false`, `True`, `01`, `-`, `-0`, `-01`, `+1`, `.5`, `1.`, `1.e5`, `1e`, `1e+`, `0x10`,
	`1 2`, `"a`, `"`, `"\"`, `"\\"`, `"\/\b\f\n\r\t\""`, `"\u00e9"`, `"\u00E9\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`,
	`"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\uD83"`, `"\u12g4"`, `"\x41"`, `"\a"`, "\"\t\"", "\"\x00\"",
	"\"\x7f\"", "\"é\u2028\u2029<>&\"", "[1]\x00", "\ufeff[]", "\"\ufffd\"", `"\ufffd"`, strings.Repeat("[", 9999) + strings.Repeat("]", 9999),
	strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
	strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001), strings.Repeat("[", 1<<20), "\xff", "a\xffb\x00\x1f\x7f\"\\",
}

func TestJSONText(t *testing.T) {
	for _, s := range jsonTexts {
		sameJSON(t, []byte(s))
	}
	// Valid texts with a few bytes changed.
	rnd := rand.New(rand.NewPCG(1, 2))
	const bytes = "{}[],:\"\\ue01289.-+Ebntf \t\n\x00\x1fa\xff"
	for range 20000 {
		b := []byte(jsonTexts[rnd.IntN(len(jsonTexts))])
		if len(b) > 100 {
			continue
		}
		for range 1 + rnd.IntN(3) {
			at := rnd.IntN(len(b) + 1)
			switch c := bytes[rnd.IntN(len(bytes))]; {
			case at == len(b) || rnd.IntN(3) == 0:
				b = append(b[:at], append([]byte{c}, b[at:]...)...)
			case rnd.IntN(2) == 0:
				b = append(b[:at], b[at+1:]...)
			default:
				b[at] = c
			}
		}
		sameJSON(t, b)
	}
}

func FuzzJSONText(f *testing.F) {
	for _, s := range jsonTexts {
		if len(s) < 100 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(sameJSON)
}
