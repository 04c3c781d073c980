// Command run runs the commands of docs/learn.md in a fresh folder and compares what
// they print and draw with the page: to the last digit and byte, but for times, rates
// and the kernel set. It needs bash.
//
//	go run ./internal/learn/run            # compare
//	go run ./internal/learn/run -write     # bring the page and its figures up to date
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/epsball/epsball/internal/learn"
)

const docs = "docs"

func main() {
	write := flag.Bool("write", false, "replace outputs and figures by new ones")
	dir := flag.String("dir", "", "folder to run in, which is kept (default a temporary one)")
	from := flag.Int("from", 1, "first step to run, with a -dir that has the results of those before")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*dir, *from, *write); err != nil {
		log.Fatal(err)
	}
}

func run(dir string, from int, write bool) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	path := filepath.Join(docs, "learn.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w; run it in the root of the repository", err)
	}
	page, err := learn.Parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "learn"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	env, err := workspace(root, dir)
	if err != nil {
		return err
	}
	start, bad := time.Now(), 0
	outputs := make([]string, len(page.Steps))
	for i, s := range page.Steps {
		outputs[i] = s.Output
		if i+1 < from {
			continue
		}
		began := time.Now()
		c := exec.Command("bash", "-euo", "pipefail", "-c", s.Commands)
		var stdout, stderr bytes.Buffer
		c.Dir, c.Env, c.Stdout, c.Stderr = dir, env, &stdout, &stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s:%d: %w\n%s%s", path, s.Line, err, &stdout, &stderr)
		}
		got := strings.TrimRight(stdout.String(), "\n")
		want, have, equal := learn.Difference(s.Output, got)
		log.Printf("step %d of %d, %s:%d: %.0f s", i+1, len(page.Steps), path, s.Line, time.Since(began).Seconds())
		if equal {
			continue
		}
		bad++
		log.Printf("  the page says  %s\n  it printed     %s", want, have)
		outputs[i] = got
		if write { // at once: what comes may fail
			if err := os.WriteFile(path, []byte(page.WithOutputs(outputs)), 0o666); err != nil {
				return err
			}
		}
	}
	figures, err := compareFigures(page, root, dir, write)
	if err != nil {
		return err
	}
	bad += figures
	log.Printf("%.0f s", time.Since(start).Seconds())
	if write {
		bad = 0
		if page, err = learn.Parse(page.WithOutputs(outputs)); err != nil {
			return err
		}
	}
	for _, s := range page.Strays() {
		bad++
		log.Printf("%s: %s stands in no output", path, s)
	}
	if bad > 0 {
		return fmt.Errorf("%d differences; -write brings outputs and figures up to date, but not the text", bad)
	}
	return nil
}

// workspace makes dir look like a clone, by links, in which what commands write is new,
// and returns an environment with epsball in its path.
func workspace(root, dir string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() == ".git" || e.Name() == "tour" {
			continue
		}
		if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./cmd/epsball")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("go build ./cmd/epsball: %w", err)
	}
	return append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH")), nil
}

// compareFigures compares the figures of the page with those that the commands have
// drawn, in tour, or replaces them; it returns how many differ.
func compareFigures(page *learn.Page, root, dir string, write bool) (bad int, err error) {
	for _, f := range page.Figures {
		drawn := filepath.Join(dir, "tour", filepath.Base(f.Path))
		got, err := os.ReadFile(drawn)
		if err != nil {
			return bad, err
		}
		path := filepath.Join(root, docs, filepath.FromSlash(f.Path))
		want, err := os.ReadFile(path)
		if err == nil && same(want, got) {
			continue
		}
		if !write {
			bad++
			log.Printf("%s is not what the commands draw", f.Path)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return bad, err
		}
		if err := os.WriteFile(path, got, 0o666); err != nil {
			return bad, err
		}
	}
	return bad, nil
}

// same compares files, PNG files by their pixels: compression differs between versions
// of Go.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	p, err := png.Decode(bytes.NewReader(a))
	if err != nil {
		return false
	}
	q, err := png.Decode(bytes.NewReader(b))
	if err != nil || p.Bounds() != q.Bounds() {
		return false
	}
	r := p.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if p.At(x, y) != q.At(x, y) {
				return false
			}
		}
	}
	return true
}
