package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// print writes the one result of a command: doc as JSON, or what human returns
// if it is not empty.
func (a *app) print(doc any, human func() string) error {
	if !a.json {
		_, err := io.WriteString(a.results, human())
		return err
	}
	e := json.NewEncoder(a.results)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// logf writes a line to stderr.
func (a *app) logf(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// newTable returns a plain table whose columns after the first are numbers.
func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options.DrawBorder = false
	style.Options.SeparateColumns = false
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(table.Row(header))
	var columns []table.ColumnConfig
	for i := range header {
		if i > 0 {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(columns)
	return t
}

// render returns a table with no blanks at the ends of its lines.
func render(t table.Writer) string {
	lines := strings.Split(t.Render(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// facts lays out pairs of a name and a value in two columns.
func facts(pairs ...string) string {
	widest := 0
	for i := 0; i < len(pairs); i += 2 {
		widest = max(widest, text.StringWidth(pairs[i]))
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s  %s\n", text.Pad(pairs[i], widest, ' '), pairs[i+1])
	}
	return b.String()
}

func percent(f float64) string { return fmt.Sprintf("%.2f%%", 100*f) }

// rate formats a throughput.
func rate(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func seconds(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f s", v)
	case v >= 1:
		return fmt.Sprintf("%.1f s", v)
	}
	return fmt.Sprintf("%.2g s", v)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func perSecond(n int64, s float64) float64 { return float64(n) / math.Max(s, 1e-9) }

func fraction(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// bar is a progress bar on a terminal; a nil bar shows nothing. Its methods may
// be called from any goroutine.
type bar struct {
	w    io.Writer
	mu   sync.Mutex
	next time.Time // not to redraw before
	on   bool
}

// newBar returns a bar if stderr is a terminal.
func (a *app) newBar() *bar {
	f, ok := a.stderr.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &bar{w: f}
}

// show draws the bar, at most ten times a second.
func (b *bar) show(label string, done, total int) {
	if b == nil || total <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.next) {
		return
	}
	b.next, b.on = now.Add(100*time.Millisecond), true
	const width = 24
	full := strings.Repeat("━", width*done/total)
	fmt.Fprintf(b.w, "\r\x1b[K%s  %s%s %d/%d", label, full, strings.Repeat("╌", width-text.StringWidth(full)), done, total)
}

// clear removes the bar.
func (b *bar) clear() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
	b.on, b.next = false, time.Time{}
}
