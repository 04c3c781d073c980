// Measure builds examples/edge and prints the tables of docs/edge.md: the size of the
// program for several platforms, the memory of weights, and what the program takes
// here from start to prediction.
//
//	go run ./examples/edge/measure          # all of it, in the root of the repository
//	go run ./examples/edge/measure --check  # sizes alone; fails above 4 MB on linux/amd64 and linux/arm64
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	program = "github.com/epsball/epsball/examples/edge"
	limit   = 4_000_000 // bytes
	runs    = 40
)

func main() {
	if err := run(slices.Contains(os.Args[1:], "--check")); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	platforms := []string{"linux/amd64", "linux/arm64"}
	if !check {
		platforms = append(platforms, "linux/arm", "linux/riscv64", "darwin/arm64", "windows/amd64", "wasip1/wasm")
	}
	fmt.Println("| platform | bytes |\n|---|---|")
	for _, p := range platforms {
		size, err := build(filepath.Join(dir, "cross"), p)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %d |\n", p, size)
		if (p == "linux/amd64" || p == "linux/arm64") && size > limit {
			return fmt.Errorf("%s: got a program of %d bytes, expected at most %d", p, size, limit)
		}
	}
	if check {
		return nil
	}
	fmt.Println()
	if err := weights(); err != nil {
		return err
	}
	fmt.Println()
	return start(dir)
}

// build returns the size of the program for a platform.
func build(path, platform string) (int64, error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", platform, err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// start prints what the program takes here from its start to its end.
func start(dir string) error {
	path := filepath.Join(dir, "here.exe")
	if _, err := build(path, runtime.GOOS+"/"+runtime.GOARCH); err != nil {
		return err
	}
	picture, err := os.ReadFile(filepath.Join("examples", "edge", "testdata", "seven.png"))
	if err != nil {
		return fmt.Errorf("%w: run it in the root of the repository", err)
	}
	fmt.Printf("%s/%s, %d runs each\n\n", runtime.GOOS, runtime.GOARCH, runs)
	fmt.Println("| run | process, fastest ms | median ms | main, fastest ms | peak memory MB |\n|---|---|---|---|---|")
	for _, c := range []struct {
		name, env string
		args      []string
	}{
		{"nothing (`--help`)", "", []string{"--help"}},
		{"classify", "", nil},
		{"classify, `GOGC=off`", "GOGC=off", nil},
		{"classify, weights for large batches too", "", []string{"--all-batches"}},
		{"classify, certify by IBP", "", []string{"--certify"}},
		{"the same, weights for large batches too", "", []string{"--certify", "--all-batches"}},
		{"classify, certify by CROWN", "", []string{"--certify", "--method", "crown"}},
	} {
		var process, inMain, memory []float64
		for range runs {
			cmd := exec.Command(path, append(c.args, "--time", "-")...)
			cmd.Env = append(os.Environ(), c.env)
			cmd.Stdin = bytes.NewReader(picture)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			began := time.Now()
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w: %s", c.name, err, stderr.String())
			}
			process = append(process, time.Since(began).Seconds()*1e3)
			for line := range strings.Lines(stderr.String()) {
				var what, unit string
				var v float64
				if _, err := fmt.Sscan(line, &what, &v, &unit); err != nil {
					return fmt.Errorf("%s: line %q: %w", c.name, line, err)
				}
				switch what {
				case "all":
					inMain = append(inMain, v)
				case "memory":
					memory = append(memory, v)
				}
			}
		}
		slices.Sort(process)
		fmt.Printf("| %s | %.1f | %.1f |", c.name, process[0], process[runs/2])
		if len(inMain) == 0 { // --help ends before
			fmt.Println(" – | – |")
			continue
		}
		slices.Sort(memory)
		fmt.Printf(" %.1f | %.1f |\n", slices.Min(inMain), memory[runs/2])
	}
	return nil
}
