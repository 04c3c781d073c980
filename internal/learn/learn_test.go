package learn

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const docs = "../../docs"

func thePage(t *testing.T) *Page {
	text, err := os.ReadFile(filepath.Join(docs, "learn.md"))
	require.NoError(t, err)
	p, err := Parse(string(text))
	require.NoError(t, err)
	outputs := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		outputs[i] = s.Output
	}
	require.Equal(t, string(text), p.WithOutputs(outputs))
	return p
}

// TestPage: what docs/learn.md says agrees with itself. go run ./internal/learn/run
// compares it with what its commands do.
func TestPage(t *testing.T) {
	p := thePage(t)
	require.Greater(t, len(p.Steps), 10)
	assert.Empty(t, p.Strays(), "numbers of the text that no command prints")
	drawn := ""
	for _, s := range p.Steps {
		assert.True(t, s.Output != "" || s.first < 0, "line %d prints nothing", s.Line)
		drawn += s.Commands + "\n"
	}
	require.NotEmpty(t, p.Figures)
	for _, f := range p.Figures {
		assert.Greater(t, len(f.Alt), 40, "%s: say what it shows", f.Path)
		assert.FileExists(t, filepath.Join(docs, f.Path))
		assert.Contains(t, drawn, "tour/"+filepath.Base(f.Path), "no command draws it")
	}
	files, err := filepath.Glob(filepath.Join(docs, "figures", "*"))
	require.NoError(t, err)
	assert.Len(t, files, len(p.Figures), "figures that the page does not show")
	for _, dir := range regexp.MustCompile(`go run \./(\S+)`).FindAllStringSubmatch(drawn, -1) {
		assert.FileExists(t, filepath.Join("..", "..", dir[1], "main.go"))
	}
}

func TestParse(t *testing.T) {
	text := "# T\n\n```sh\nepsball a \\\n  --b 'c d' # e\n```\n\n```text\nold 0.5\n```\n\n![A 3.25](f/a.svg) says 0.5, 12.5% and 7%.\n" +
		"\n```go\nx := 1\n```\n\n```sh\nfor i in 1 2; do epsball $i | head || epsball \"f\" > g; done\n```\n"
	p, err := Parse(text)
	require.NoError(t, err)
	require.Len(t, p.Steps, 2)
	assert.Equal(t, "old 0.5", p.Steps[0].Output)
	assert.Equal(t, 4, p.Steps[0].Line)
	assert.Equal(t, []Figure{{"A 3.25", "f/a.svg"}}, p.Figures)
	assert.Equal(t, []string{"line 12: 3.25", "line 12: 12.5%", "line 12: 7%"}, p.Strays())
	assert.Equal(t, [][]string{{"a", "--b", "c d"}, {"1"}, {"2"}, {"f"}, {"f"}}, p.Epsball())
	assert.Equal(t, strings.Replace(text, "old 0.5", "new\nlines", 1), p.WithOutputs([]string{"new\nlines", "x"}))
	assert.Equal(t, strings.Replace(text, "old 0.5\n", "", 1), p.WithOutputs([]string{"", ""}))

	for _, bad := range []string{"```sh\nx\n", "```text\nx\n```\n", "```sh\n```\nwords\n```text\n```\n"} {
		_, err := Parse(bad)
		require.Error(t, err, bad)
	}
}

func TestDifference(t *testing.T) {
	table := func(rate, rest string) string {
		return "model      ε  clean  IBP/s  time\n" + "─────────" + rest + "\n" + "a        0.1  99.1%    " + rate + "  1.0 s\n" + "done; avx2, 2 threads; 1.5 s"
	}
	for _, same := range [][2]string{
		{"epochs  4 in 12.5 s", "epochs    4 in 1 min"},
		{"x 5317 image steps, 0.17 s, 33k/s", "x 5317 image steps, 120 ms, 954/s"},
		{"crown-ibp 3.6 s (28 images/s)", "crown-ibp 4 s (120 images/s)"},
		{table("47k", ""), strings.Replace(table("  312", "───"), "avx2, 2 threads", "generic, 1 thread", 1)},
	} {
		_, _, equal := Difference(same[0], same[1])
		assert.True(t, equal, same)
	}
	for _, other := range [][2]string{
		{"clean 99.1%", "clean 99.2%"},
		{"a\nb", "a"},
		{table("47k", ""), strings.Replace(table("47k", ""), "99.1%", "99.0%", 1)},
		{"hash 12ab", "hash 12ac"},
		{"4 in 5 s", "5 in 5 s"},
	} {
		w, g, equal := Difference(other[0], other[1])
		assert.False(t, equal, other)
		assert.NotEqual(t, w, g)
	}
}
