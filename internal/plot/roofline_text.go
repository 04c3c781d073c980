package plot

import (
	"fmt"
	"strings"
)

// Table has a row for each limit and each point.
func (r *Roofline) Table() Table {
	t := Table{Caption: r.Title, Head: []string{"measured", "FLOP/byte", "GFLOP/s", "GB/s"}}
	if r.check() != nil {
		return t
	}
	for i := range r.Panels {
		n := &r.Panels[i]
		add := func(name, intensity, gflops, gbps string) {
			if len(r.Panels) > 1 {
				name = n.Title + ", " + name
			}
			t.Rows = append(t.Rows, []string{name, intensity, gflops, gbps})
		}
		for _, k := range n.Peaks {
			add("FMA peak, "+k.Name, absent, short(k.GFLOPS), absent)
		}
		for _, b := range n.Reads {
			add("reading "+b.Name, absent, absent, short(b.GBps))
		}
		for k := range n.Points {
			o := &n.Points[k]
			name, _, _ := strings.Cut(o.Tooltip, ":")
			add(name, short(o.Intensity), short(o.GFLOPS), short(o.GFLOPS/o.Intensity))
		}
	}
	return t
}

// Alt tells the fastest point of each panel.
func (r *Roofline) Alt() string {
	if r.check() != nil {
		return sentences(r.Title)
	}
	var list []string
	for i := range r.Panels {
		n := &r.Panels[i]
		peak := n.Peaks[0]
		t := fmt.Sprintf("%s: peak %s, %s GFLOP/s", n.Title, peak.Name, short(peak.GFLOPS))
		best := -1
		for k := range n.Points {
			if best < 0 || n.Points[k].GFLOPS > n.Points[best].GFLOPS {
				best = k
			}
		}
		if best >= 0 {
			o := &n.Points[best]
			name, _, _ := strings.Cut(o.Tooltip, ":")
			t += fmt.Sprintf("; fastest of %s, %s GFLOP/s (%s) in %s", count(len(n.Points), "point"), short(o.GFLOPS), Percent(o.GFLOPS/peak.GFLOPS), name)
		}
		list = append(list, t)
	}
	return sentences(append([]string{"GFLOP/s over arithmetic intensity, logarithmic"}, list...)...)
}
