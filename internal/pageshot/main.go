// Command pageshot looks at HTML pages as their readers do, in a headless Chromium:
// at the width of a desktop and of a phone, light and dark, with and without
// JavaScript. It takes a picture of each look, and fails on
//
//   - errors and warnings on the console, and requests for anything but the page;
//   - content wider than the window, and text under 9 pixels or of a contrast under
//     4.5 (3 for large text) where that can be computed;
//   - pictures without a text alternative, links and buttons without text, links to
//     nowhere in the page, identifiers that are there twice;
//   - headings out of order, tables without captions or header cells;
//   - boxes that scroll and cannot be reached by keyboard;
//   - a page without a language, a title, or the width of the device.
//
// Usage:
//
//	go run ./internal/pageshot [-out FOLDER [-part ID]] [-chromium PATH] page.html ...
//
// -part takes a picture of that element as well, PAGE-ID.png, as it is on a desktop, light.
//
// It exits with 1 if a page has any of these, and with 2 if it could not look.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("pageshot", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "folder for pictures; created if absent; none are taken if empty")
	part := flags.String("part", "", "the id of an element to take a picture of, too")
	chromium := flags.String("chromium", os.Getenv("EPSBALL_CHROMIUM"), "the browser; default $EPSBALL_CHROMIUM, else the first in PATH")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	bad, err := look(*chromium, *out, *part, flags.Args(), stdout)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "pageshot:", err)
		return 2
	case bad > 0:
		return 1
	}
	return 0
}

// look looks at all pages and counts what is wrong with them.
func look(chromium, out, part string, pages []string, w io.Writer) (bad int, err error) {
	if len(pages) == 0 {
		return 0, errors.New("got no page, want the paths of HTML files")
	}
	path, err := findChromium(chromium)
	if err != nil {
		return 0, err
	}
	if part != "" && out == "" {
		return 0, errors.New("-part: want -out, too")
	}
	if out != "" {
		if err := os.MkdirAll(out, 0o777); err != nil {
			return 0, err
		}
	}
	b, err := start(path)
	if err != nil {
		return 0, err
	}
	defer b.close()
	b.part = part
	for _, page := range pages {
		if page, err = filepath.Abs(page); err != nil {
			return bad, err
		}
		if i, err := os.Stat(page); err != nil || !i.Mode().IsRegular() {
			return bad, errors.Join(fmt.Errorf("%s: want an HTML file", page), err)
		}
		findings, err := b.inspect(page, out, looks)
		if err != nil {
			return bad, fmt.Errorf("%s: %w", page, err)
		}
		for _, f := range findings {
			fmt.Fprintf(w, "%s: %s\n", page, f)
		}
		if len(findings) == 0 {
			fmt.Fprintf(w, "%s: nothing found in %d looks\n", page, len(looks))
		}
		bad += len(findings)
	}
	return bad, nil
}

// findChromium returns the browser at path, or the first in PATH.
func findChromium(path string) (string, error) {
	if path != "" {
		return exec.LookPath(path)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", errors.New("no Chromium in PATH: install it (Debian's package is chromium), or set EPSBALL_CHROMIUM to its path")
}
