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
	if now.Before(b.next) {
		return
	}
	b.next, b.on = now.Add(100*time.Millisecond), true
	const width = 24
	full := strings.Repeat("━", width*done/total)
	fmt.Fprintf(b.w, "\r\x1b[K%s  %s%s %d/%d", label, full, strings.Repeat("╌", width-Width(full)), done, total)
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
