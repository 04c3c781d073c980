package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// Roofline is the chart of a result of Run: the rows of the first kernel set's direct kernels: a
// panel for one thread and one for all.
func Roofline(r *report.Bench) *plot.Roofline {
	c := &plot.Roofline{
		Title: "Roofline: " + r.CPU,
		Subtitle: []string{
			fmt.Sprintf("epsball bench, kernel set %s. Dots are medians; arithmetic intensity counts the traffic that cannot be avoided:", r.ISA),
			"weights once, activations of the batch in and out, of each layer. Roofs are measured, too.",
		},
	}
	for _, t := range slices.Compact([]int{1, r.Threads}) {
		p := plot.RooflinePanel{Title: show.Count(t, "thread")}
		for _, k := range r.Peaks {
			if k.Threads == t {
				p.Peaks = append(p.Peaks, plot.Peak{Name: k.ISA, GFLOPS: k.GFLOPS})
			}
		}
		for _, b := range r.Read {
			if b.Threads == t {
				p.Reads = append(p.Reads, plot.Bandwidth{Name: b.Level, GBps: b.GBps})
			}
		}
		for i := range r.Rows {
			if row := &r.Rows[i]; row.ISA == r.ISA && row.Variant == direct && row.Intensity > 0 && row.Threads == t {
				p.Points = append(p.Points, point(row))
			}
		}
		c.Panels = append(c.Panels, p)
	}
	return c
}

// point is the row's place in a roofline. Rows of one label share it: markers tell
// the operation, colours the network.
func point(r *report.BenchRow) plot.RooflinePoint {
	p := plot.RooflinePoint{
		Intensity: r.Intensity, GFLOPS: r.GFLOPS, Size: r.Batch, Far: r.Kind == report.RowPass,
		Tooltip: fmt.Sprintf("%s: %.3g GFLOP/s, %.1f%% of peak, %.3g FLOP/byte, spread %.1f%%", r.Name, r.GFLOPS, 100*r.FractionOfPeak, r.Intensity, 100*r.Spread),
	}
	if r.Noisy {
		p.Tooltip += ", noisy"
	}
	parts := strings.Split(r.Name, "/")
	switch r.Kind {
	case report.RowPass, report.RowEdge:
		p.Series, p.Marker, p.Label = parts[1], parts[0], fmt.Sprintf("%s b%d", parts[1], r.Batch)
		if r.Kind == report.RowEdge {
			p.Marker = "forward"
		}
	case report.RowLayer:
		p.Series, p.Marker, p.Label = parts[2], "layer "+parts[1], fmt.Sprintf("%s b%d", parts[3], r.Batch)
	case report.RowKernel:
		p.Marker, p.Label = "element-wise kernel", parts[1]+" "+parts[2]
	}
	return p
}
