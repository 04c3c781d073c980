package bench

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/epsball/epsball/report"
)

// WriteBenchstat writes a result of Run in Go's benchmark format, one line for each
// repeat.
func WriteBenchstat(w io.Writer, r *report.Bench) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: github.com/epsball/epsball/cmd/epsball\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, r.CPU)
	for _, unit := range []string{"images/s", "GFLOP/s", "GB/s", "of-peak"} {
		fmt.Fprintf(&b, "Unit %s better=higher\n", unit)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		name := benchmarkName(row.Name)
		if len(r.ISAs) > 1 {
			name += "/isa=" + row.ISA
		}
		for _, s := range row.Samples {
			gflops := row.GFLOPS * row.Seconds / s
			fmt.Fprintf(&b, "%s\t%d\t%.1f ns/op", name, row.Runs, 1e9*s)
			if row.Kind == report.RowKernel {
				fmt.Fprintf(&b, "\t%.5g GB/s", row.GBps*row.Seconds/s)
			} else {
				fmt.Fprintf(&b, "\t%.6g images/s", float64(row.Batch)/s)
			}
			if gflops > 0 { // select-lanes and pack-lanes only move data
				fmt.Fprintf(&b, "\t%.5g GFLOP/s\t%.4g of-peak", gflops, gflops/row.PeakGFLOPS)
			}
			b.WriteByte('\n')
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// benchmarkName turns pgd-step/mnist-small/… into BenchmarkPGDStep/mnist-small/….
func benchmarkName(row string) string {
	first, rest, _ := strings.Cut(row, "/")
	name := "Benchmark"
	for _, word := range strings.Split(first, "-") {
		if word == "pgd" || word == "ibp" {
			word = strings.ToUpper(word)
		}
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name + "/" + rest
}
