package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chromium is the browser that tests may start.
func chromium(t *testing.T) string {
	path := os.Getenv("EPSBALL_CHROMIUM")
	if path == "" {
		t.Skip("set EPSBALL_CHROMIUM to the path of a Chromium to look at pages")
	}
	return path
}

const good = "testdata/good.html"

func TestGoodPage(t *testing.T) {
	path, out := chromium(t), filepath.Join(t.TempDir(), "pictures")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run([]string{"-chromium", path, "-out", out, "-part", "main", good}, &stdout, &stderr), "%s%s", &stdout, &stderr)
	assert.Contains(t, stdout.String(), "nothing found in 8 looks")
	part, err := os.Stat(filepath.Join(out, "good-main.png"))
	require.NoError(t, err)
	assert.Positive(t, part.Size())
	for _, l := range looks {
		raw, err := os.ReadFile(filepath.Join(out, "good-"+l.String()+".png"))
		require.NoError(t, err)
		picture, err := png.Decode(bytes.NewReader(raw))
		require.NoError(t, err)
		assert.Equal(t, l.width, picture.Bounds().Dx())
		r, _, _, _ := picture.At(1, 1).RGBA()
		assert.Equal(t, l.dark, r < 0x8000, "dark paper: %s", l)
	}
}

// Each change of the good page is found, as what it is and in the looks where it is.
func TestBadPages(t *testing.T) {
	b, err := start(chromium(t))
	require.NoError(t, err)
	defer b.close()
	page := string(must(os.ReadFile(good)))
	for _, c := range []struct {
		old, new string // what is changed
		want     string // the only finding, or its beginning
	}{
		{"<html lang=\"en\">", "<html>", "<html> has no lang"},
		{"<title>A good page</title>", "", "no <title>"},
		{", initial-scale=1", "", ""}, // still good
		{"width=device-width, ", "", `no <meta name="viewport">`},
		{"</main>", "</main><main></main>", "got 2 <main>, want 1"},
		{"<h2>The end</h2>", `<h2 id="main">The end</h2>`, `id "main" is there 2 times`},
		{"<h2>Pictures</h2>", "<h4>Pictures</h4>", `<h4> "Pictures" in #main follows <h1>`},
		{"<h2>The end</h2>", "<h1>The end</h1>", "got 2 <h1>, want 1"},
		{"<h2>The end</h2>", "<h2></h2>", "<h2> in #main is empty"},
		{` alt="a dot"`, "", "<img> in #main data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALA has no text alternative (alt)"},
		{` alt="a dot"`, ` alt=""`, "<img> in #main data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALA has no text alternative (alt)"},
		{` alt="a dot"`, ` alt="" role="presentation"`, ""},
		{` aria-hidden="true" width="10"`, ` role="img" width="10"`, "<svg> in #main has no text alternative (title, aria-label or aria-labelledby)"},
		{` role="img" aria-labelledby="drawing-title"`, ` aria-labelledby="drawing-title"`, `<svg#drawing> "A box with a word white on blue" has no role="img"`},
		{`aria-labelledby="drawing-title"`, `aria-labelledby="drawing-name"`, `<svg#drawing> "A box with a word white on blue": aria-labelledby names "drawing-name", which is not there`},
		{">Up</a>", "></a>", "<a> in #main has no text"},
		{">Up</a>", `><svg role="img" aria-label="up"></svg></a>`, ""},
		{`<p><a href="#main">Up`, `<p><a href="#top">Up`, `<a> "Up" in #main leads to #top, which is not there`},
		{"<h2>The end</h2>", "<button></button>", "<button> in #main has no text"},
		{"<h2>The end</h2>", "<input>", "<input> in #main has no label"},
		{"<h2>The end</h2>", `<iframe srcdoc="x"></iframe>`, "<iframe> in #main has no text alternative"},
		{"<caption>Numbers</caption>", "", `<table> "namea long column that is wider than the" in #main has no caption`},
		{`<th scope="col">name</th>`, "<th></th>", `<table> "Numbers a long column that is wider than" in #main has an empty header cell`},
		{` tabindex="0" role="region"`, ` role="region"`, `<div.scroll> "Numbers namea long column that is wider " in #main scrolls, and no keyboard reaches it (tabindex="0") (360-dark-noscript)`},
		{".scroll { overflow-x: auto }", "", `? pixels wide with all <details> open, 360 are there: <table>`},
		{"<h2>The end</h2>", `<p style="width:700px">wide</p>`, `716 pixels wide, 360 are there: <p> "wide" in #main`},
		{`fill="#ffffff"`, `fill="#3079b4"`, `<text> "white on blue" in #drawing: contrast 2.47, want 4.5`},
		{`font-size="14"`, `font-size="8"`, `<text> "white on blue" in #drawing: text of 8.0 pixels`},
		{"--ink: #eee", "--ink: #555", `<h1> "A good page" in #main: contrast 2.`},
		{"<h2>The end</h2>", `<p style="color:#949494;background:#fff">faint</p>`, `<p> "faint" in #main: contrast 3.03, want 4.5`},
		{"<h2>The end</h2>", `<p style="color:#949494;background:#fff;font-size:24px">large</p>`, ""},
		{"<h2>The end</h2>", `<p style="color:#111;background:#fff;opacity:.4">faded</p>`, `<p> "faded" in #main: contrast `},
		{`console.log("not`, `console.warn("not`, "console: warning not a warning (1280-light)"},
		{`console.log("not a warning")`, "nothing.there()", "console: Uncaught ReferenceError: nothing is not defined"},
		{"<h2>The end</h2>", `<img src="none.png" alt="none">`, "requests file:///"},
		{"<h2>The end</h2>", `<link rel="stylesheet" href="https://example.com/a.css">`, "requests https://example.com/a.css"},
	} {
		require.Contains(t, page, c.old)
		path := filepath.Join(t.TempDir(), "bad page.html")
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(page, c.old, c.new, 1)), 0o600))
		findings, err := b.inspect(path, "", []aLook{{1280, 800, false, true}, {360, 740, true, false}})
		require.NoError(t, err, c.new)
		if c.want == "" {
			assert.Empty(t, findings, c.new)
			continue
		}
		assert.True(t, slices.ContainsFunc(findings, func(f string) bool {
			if rest, ok := strings.CutPrefix(c.want, "?"); ok {
				return strings.Contains(f, rest)
			}
			return strings.HasPrefix(f, c.want)
		}), "%s: got %q, want %q", c.new, findings, c.want)
		assert.LessOrEqual(t, len(findings), 3, "%s: %q", c.new, findings)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Without a browser, or a page, it says so and exits with 2.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "got no page"},
		{[]string{"-width", "3", good}, "not defined"},
		{[]string{"-chromium", "no/such/chromium", good}, "no/such/chromium"},
		{[]string{good}, "set EPSBALL_CHROMIUM"},
		{[]string{"-chromium", must(os.Executable()), "-out", good, good}, "good.html"},
	} {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("EPSBALL_CHROMIUM", "")
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 2, run(c.args, &stdout, &stderr))
		assert.Contains(t, stderr.String(), c.want)
		assert.Empty(t, stdout.String())
	}
}

// A program that is no browser is an error, not a wait.
func TestNoBrowser(t *testing.T) {
	if path, err := findChromium("true"); err == nil {
		_, err = start(path)
		assert.ErrorContains(t, err, "starting "+path)
	}
}

func TestMissingPage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 2, run([]string{"-chromium", chromium(t), "none.html"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "none.html: want an HTML file")
}
