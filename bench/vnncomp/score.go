package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/epsball/epsball/internal/charts"
)

// Points, by the rules of VNN-COMP 2025, which are those of 2023 and 2024: none for time,
// none for unknown, timeout and error.
const (
	rules       = "VNN-COMP 2025"
	pointsRight = 10
	pointsWrong = -150 // also for a witness that is none
)

// judgement is what is known of a verdict.
type judgement struct {
	right, wrong bool   // neither if nothing was decided
	disputed     bool   // truth.csv says unsat, the witness is valid
	note         string // what a reader should look at
}

// judged compares a result with the truth. A witness that was replayed counts more than
// truth.csv, as in VNN-COMP, where valid witnesses decide what is true.
func judged(r *result, truth string) judgement {
	word := replayed(r)
	switch {
	case !decided(r.verdict):
		return judgement{}
	case word == replayInvalid:
		return judgement{wrong: true, note: "WRONG: " + r.replay}
	case word == replayValid && truth == "unsat":
		return judgement{right: true, disputed: true, note: "DISPUTED: truth.csv says unsat, the witness is valid"}
	case decided(truth) && truth != r.verdict && word != replayTolerance:
		return judgement{wrong: true, note: "WRONG"}
	}
	return judgement{right: true, note: r.replay}
}

// replayed is the first word of what the replay said.
func replayed(r *result) string {
	word, _, _ := strings.Cut(r.replay, ":")
	return word
}

// line is what is printed of an instance.
func line(r *result, said judgement, truth string, others []publishedRow) string {
	s := fmt.Sprintf("%-8s %8.2f s  %-34s %-34s %-6s", r.verdict, r.seconds, filepath.Base(r.network), filepath.Base(r.property), truth)
	if others != nil {
		n := map[string]int{}
		for _, o := range others {
			n[o.verdict]++
		}
		s += fmt.Sprintf(" %du/%ds", n["unsat"], n["sat"])
	}
	for _, text := range []string{said.note, r.detail} {
		if text != "" {
			s += "  " + text
		}
	}
	return s
}

// tally counts results.
type tally struct {
	instances, wrong, disputed int
	verdicts                   map[string]int
	replays                    map[string]int // by the first word of what the replay said
	times                      []float64      // of those that are right
	published                  []*other
}

// other is what another tool did on the same instances, within the limits that it had.
type other struct {
	tool       string
	unsat, sat int
	wrong      int
	slower     int // of unsat and sat: took longer than epsball's limit
	times      []float64
}

// count adds a result, and what others said of its instance. They are right if neither
// truth nor a witness that was replayed contradicts them.
func (t *tally) count(r *result, said judgement, truth string, others []publishedRow, tools []string) {
	if t.verdicts == nil {
		t.verdicts, t.replays = map[string]int{}, map[string]int{}
	}
	t.instances++
	t.verdicts[r.verdict]++
	if r.replay != "" {
		t.replays[replayed(r)]++
	}
	switch {
	case said.right:
		t.times = append(t.times, r.seconds)
	case said.wrong:
		t.wrong++
	}
	if said.disputed {
		t.disputed++
	}
	if r.replay == replayValid {
		truth = "sat"
	}
	for i, p := range others {
		o := t.other(tools[i])
		if !decided(p.verdict) {
			continue
		}
		if decided(truth) && truth != p.verdict {
			o.wrong++
			continue
		}
		if o.times = append(o.times, p.seconds); p.seconds > r.limit {
			o.slower++
		}
		if p.verdict == "unsat" {
			o.unsat++
		} else {
			o.sat++
		}
	}
}

// other returns the row of a tool, a new one if there is none.
func (t *tally) other(tool string) *other {
	for _, o := range t.published {
		if o.tool == tool {
			return o
		}
	}
	o := &other{tool: tool}
	t.published = append(t.published, o)
	return o
}

// add adds the counts of another tally.
func (t *tally) add(u *tally) {
	if t.verdicts == nil {
		t.verdicts, t.replays = map[string]int{}, map[string]int{}
	}
	t.instances += u.instances
	t.wrong += u.wrong
	t.disputed += u.disputed
	t.times = append(t.times, u.times...)
	for k, n := range u.verdicts {
		t.verdicts[k] += n
	}
	for k, n := range u.replays {
		t.replays[k] += n
	}
	for _, p := range u.published {
		o := t.other(p.tool)
		o.unsat, o.sat, o.slower, o.wrong = o.unsat+p.unsat, o.sat+p.sat, o.slower+p.slower, o.wrong+p.wrong
		o.times = append(o.times, p.times...)
	}
}

func score(right, wrong int) int { return pointsRight*right + pointsWrong*wrong }

// print writes the summary of a folder, and the table of all tools.
func (t *tally) print(out io.Writer, name string) {
	times := slices.Sorted(slices.Values(t.times))
	fmt.Fprintf(out, "%s: %d instances: unsat %d, sat %d, unknown %d, timeout %d, error %d; wrong %d", name, t.instances,
		t.verdicts["unsat"], t.verdicts["sat"], t.verdicts["unknown"], t.verdicts["timeout"], t.verdicts["error"], t.wrong)
	if n := t.replays[replayValid] + t.replays[replayTolerance] + t.replays[replayInvalid]; n > 0 {
		fmt.Fprintf(out, "; witnesses replayed %d, valid %d", n, t.replays[replayValid])
		if k := t.replays[replayTolerance]; k > 0 {
			fmt.Fprintf(out, ", within tolerance %d", k)
		}
	}
	if n := t.replays[proofValid] + t.replays[proofMissing]; n > 0 {
		fmt.Fprintf(out, "; of unsat %d are proved by certificates that were checked", t.replays[proofValid])
	}
	fmt.Fprintf(out, "; score %d of %d (%s)", score(len(times), t.wrong), score(t.instances, 0), rules)
	if n := len(times); n > 0 {
		fmt.Fprintf(out, "; median %.2f s, slowest %.2f s", times[n/2], times[n-1])
	}
	fmt.Fprintln(out)
	if len(t.published) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tool\tunsat\tsat\twrong\tscore\tslower than the limit\t")
	fmt.Fprintf(w, "epsball\t%d\t%d\t%d\t%d\t\t\n", t.verdicts["unsat"], t.verdicts["sat"], t.wrong, score(len(times), t.wrong))
	rows := slices.Clone(t.published)
	slices.SortStableFunc(rows, func(a, b *other) int { return score(len(b.times), b.wrong) - score(len(a.times), a.wrong) })
	for _, o := range rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", o.tool, o.unsat, o.sat, o.wrong, score(len(o.times), o.wrong), o.slower)
	}
	_ = w.Flush()
}

// solved are the curves of the plot.
func (t *tally) solved() []charts.Solved {
	list := []charts.Solved{{Tool: "epsball", Seconds: t.times}}
	for _, o := range t.published {
		list = append(list, charts.Solved{Tool: o.tool, Seconds: o.times, Published: true})
	}
	return list
}
