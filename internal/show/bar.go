package show

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Bar is a progress bar on a terminal; a nil Bar shows nothing. Its methods may
// be called from any goroutine.
type Bar struct {
	w    io.Writer
	mu   sync.Mutex
	next time.Time // not to redraw before
	on   bool

	// For the time left: of the label shown, when it began, and what was done then.
	label string
	start time.Time
	from  int
}

// NewBar returns a bar if w is a terminal.
func NewBar(w io.Writer) *Bar {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &Bar{w: f}
}

// Show draws the bar, at most ten times a second.
func (b *Bar) Show(label string, done, total int) {
	if b == nil || total <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if label != b.label || done < b.from {
		b.label, b.start, b.from = label, now, done
	}
	if now.Before(b.next) {
		return
	}
	b.next, b.on = now.Add(100*time.Millisecond), true
	const width = 24
	full := strings.Repeat("━", width*done/total)
	fmt.Fprintf(b.w, "\r\x1b[K%s  %s%s %d/%d%s", label, full, strings.Repeat("╌", width-Width(full)), done, total, left(now.Sub(b.start), done-b.from, total-done))
}

// Note shows a line of text in place of the bar, at most ten times a second.
func (b *Bar) Note(text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.After(b.next) {
		b.next, b.on = now.Add(100*time.Millisecond), true
		fmt.Fprintf(b.w, "\r\x1b[K%s", text)
	}
}

// left says how long the rest takes if it goes on as so far, once there is a basis for it.
func left(took time.Duration, done, rest int) string {
	if took < 2*time.Second || done <= 0 || rest <= 0 {
		return ""
	}
	d := time.Duration(took.Seconds() / float64(done) * float64(rest) * float64(time.Second))
	return ", " + d.Round(time.Second).String() + " left"
}

// Clear removes the bar.
func (b *Bar) Clear() {
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
