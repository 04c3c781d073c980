// Command vnncomp runs a folder of VNN-COMP: the instances of its instances.csv, each by
// `epsball verify` in a process of its own, so that times are from start to verdict. It
// compares verdicts with truth.csv, if there is one, whose columns onnx, vnnlib and truth
// say sat, unsat or open. A verdict that contradicts it makes the exit status 1.
//
//	go build -o epsball ./cmd/epsball
//	go run ./bench/vnncomp [-timeout 60] [-threads 2] [-only TEXT] [-epsball ./epsball] FOLDER …
package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vnncomp:", err)
		os.Exit(1)
	}
}

// judge is how instances are run.
type judge struct {
	timeout float64
	threads int
	only    string
	epsball string
}

// instance is a line of instances.csv.
type instance struct{ network, property string }

// outcome is what became of one.
type outcome struct {
	verdict string
	seconds float64 // from start to end of the process
	detail  string
}

func run(ctx context.Context) error {
	var j judge
	flag.Float64Var(&j.timeout, "timeout", 60, "seconds for an instance")
	flag.IntVar(&j.threads, "threads", 2, "threads of an instance")
	flag.StringVar(&j.only, "only", "", "run only instances whose files' names contain this")
	flag.StringVar(&j.epsball, "epsball", "./epsball", "the program")
	flag.Parse()
	if flag.NArg() == 0 {
		return errors.New("want folders with an instances.csv")
	}
	var failure error
	for _, folder := range flag.Args() {
		wrong, err := j.folder(ctx, folder)
		if err != nil {
			return err
		}
		if wrong > 0 {
			failure = errors.New("verdicts contradict truth.csv")
		}
	}
	return failure
}

// folder runs one, and returns how many verdicts contradict the truth.
func (j *judge) folder(ctx context.Context, folder string) (wrong int, err error) {
	list, err := instances(folder)
	if err != nil {
		return 0, err
	}
	truth, err := truths(folder)
	if err != nil {
		return 0, err
	}
	count, times := map[string]int{}, []float64{}
	for _, in := range list {
		if !strings.Contains(in.network+","+in.property, j.only) {
			continue
		}
		if ctx.Err() != nil {
			return wrong, ctx.Err()
		}
		o, err := j.one(ctx, folder, in)
		if err != nil {
			return wrong, err
		}
		note := truth[in.key()]
		if (o.verdict == "sat" || o.verdict == "unsat") && (note == "sat" || note == "unsat") && o.verdict != note {
			note += "  WRONG"
			wrong++
		}
		if o.verdict == "sat" || o.verdict == "unsat" {
			times = append(times, o.seconds)
		}
		count[o.verdict]++
		fmt.Printf("%-8s %8.2f s  %-34s %-34s %-6s %s\n", o.verdict, o.seconds, filepath.Base(in.network), filepath.Base(in.property), note, o.detail)
	}
	slices.Sort(times)
	fmt.Printf("%s: unsat %d, sat %d, unknown %d, timeout %d; wrong %d; score %d", filepath.Base(folder),
		count["unsat"], count["sat"], count["unknown"], count["timeout"], wrong, 10*(len(times)-wrong)-150*wrong)
	if n := len(times); n > 0 {
		fmt.Printf("; median %.2f s, slowest %.2f s", times[n/2], times[n-1])
	}
	fmt.Println()
	return wrong, nil
}

// one runs an instance.
func (j *judge) one(ctx context.Context, folder string, in instance) (outcome, error) {
	c := exec.CommandContext(ctx, j.epsball, "verify", "--json", "--timeout", fmt.Sprint(j.timeout), "--threads", fmt.Sprint(j.threads),
		packed(filepath.Join(folder, in.network)), packed(filepath.Join(folder, in.property)))
	var message strings.Builder
	c.Stderr = &message
	start := time.Now()
	out, err := c.Output()
	seconds := time.Since(start).Seconds()
	var r report.Verify
	if json.Unmarshal(out, &r) != nil || r.Verdict == "" {
		return outcome{}, fmt.Errorf("%s %s: %w: %s", in.network, in.property, err, message.String())
	}
	return outcome{r.Verdict, seconds, r.Summary()}, nil
}

// packed returns the name of a file, or of it packed by gzip where only that is there.
func packed(path string) string {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return path + ".gz"
	}
	return path
}

func (i instance) key() string {
	base := func(s string) string { return strings.TrimSuffix(filepath.Base(s), ".gz") }
	return base(i.network) + " " + base(i.property)
}

func instances(folder string) ([]instance, error) {
	rows, err := table(filepath.Join(folder, "instances.csv"))
	if err != nil {
		return nil, err
	}
	var list []instance
	for i, r := range rows {
		if len(r) < 2 {
			return nil, fmt.Errorf("%s: instances.csv, line %d: want a network and a property", folder, i+1)
		}
		list = append(list, instance{r[0], r[1]})
	}
	return list, nil
}

// truths returns what truth.csv says of an instance's key.
func truths(folder string) (map[string]string, error) {
	rows, err := table(filepath.Join(folder, "truth.csv"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	onnx, property, truth := slices.Index(rows[0], "onnx"), slices.Index(rows[0], "vnnlib"), slices.Index(rows[0], "truth")
	if onnx < 0 || property < 0 || truth < 0 {
		return nil, fmt.Errorf("%s: truth.csv: want columns onnx, vnnlib and truth", folder)
	}
	said := map[string]string{}
	for _, r := range rows[1:] {
		said[instance{r[onnx], r[property]}.key()] = r[truth]
	}
	return said, nil
}

func table(path string) ([][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	return r.ReadAll()
}
