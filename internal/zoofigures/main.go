// Command zoofigures measures the models of the zoo, those that are embedded and those in
// zoo/more: how many of the test images each classifies right, how many remain so under
// attacks, and for how many that is proved. Without flags it compares with zoo/figures.json,
// from which the table of docs/models.md is made; bits are the same everywhere, so every
// figure must be.
//
//	go run ./internal/zoofigures [-write] [-table] [-images FOLDER] [NAME …]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/epsball/epsball/zoo"
)

// file holds the figures, folder the models that are not embedded.
const (
	file   = "zoo/figures.json"
	folder = "zoo/more"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "zoofigures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	write := flag.Bool("write", false, "put what is measured into "+file)
	table := flag.Bool("table", false, "print the table of docs/models.md, and measure nothing")
	images := flag.String("images", "", "folder of the test images of models that are not of MNIST")
	flag.Parse()
	known, err := read(file)
	if err != nil {
		return err
	}
	if *table {
		fmt.Print(known.table())
		return nil
	}
	names := flag.Args()
	if len(names) == 0 {
		if names, err = all(); err != nil {
			return err
		}
	}
	var failure error
	for _, name := range names {
		f, err := measure(ctx, name, *images, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Println(f)
		if *write {
			known = known.with(f)
			if err := known.write(file); err != nil {
				return err
			}
		} else if old := known.of(name); old == nil || *old != *f {
			fmt.Printf("  %s has %v\n", file, old)
			failure = errors.New("figures differ")
		}
	}
	return failure
}

// all names the embedded models, then those in the folder.
func all() ([]string, error) {
	names := zoo.Names()
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".safetensors"); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
