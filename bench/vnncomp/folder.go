package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// folder is one of VNN-COMP.
type folder struct {
	path, name string
	instances  []instance
	truth      map[string]string         // by an instance's key: sat, unsat or another word
	tools      []string                  // of published.csv, in its order
	published  map[string][]publishedRow // by key, one for each tool
}

// instance is a line of instances.csv. Files are relative to the folder.
type instance struct {
	network, property string
	limit             float64 // seconds
}

// publishedRow is what another tool said.
type publishedRow struct {
	verdict string
	seconds float64
}

// key names an instance by its files, wherever they are.
func (i instance) key() string { return key(i.network, i.property) }

func key(network, property string) string {
	base := func(s string) string { return strings.TrimSuffix(filepath.Base(s), ".gz") }
	return base(network) + " " + base(property)
}

// decided reports whether a verdict is one.
func decided(verdict string) bool { return verdict == "sat" || verdict == "unsat" }

func readFolder(path string) (*folder, error) {
	d := &folder{path: path, name: filepath.Base(filepath.Clean(path))}
	rows, err := table(path, "instances.csv")
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		if len(r) < 3 {
			return nil, fmt.Errorf("%s: instances.csv, line %d: got %d columns, want network, property and seconds", path, i+1, len(r))
		}
		limit, err := strconv.ParseFloat(strings.TrimSpace(r[2]), 64)
		if err != nil || !(limit > 0 && limit < 1e9) {
			return nil, fmt.Errorf("%s: instances.csv, line %d: got the timeout %q, want seconds above 0", path, i+1, r[2])
		}
		d.instances = append(d.instances, instance{strings.TrimSpace(r[0]), strings.TrimSpace(r[1]), limit})
	}
	if d.truth, err = readTruth(path); err != nil {
		return nil, err
	}
	return d, d.readPublished()
}

// readTruth returns what truth.csv, if there is one, says of each instance.
func readTruth(path string) (map[string]string, error) {
	_, rows, at, err := columns(path, "truth.csv", "onnx", "vnnlib", "truth")
	said := map[string]string{}
	for _, r := range rows {
		said[key(r[at[0]], r[at[1]])] = r[at[2]]
	}
	return said, err
}

// readPublished reads published.csv, if there is one: columns TOOL_verdict and TOOL_seconds.
func (d *folder) readPublished() error {
	head, rows, at, err := columns(d.path, "published.csv", "onnx", "vnnlib")
	if err != nil || head == nil {
		return err
	}
	var verdicts, seconds []int
	for i, name := range head {
		if tool, ok := strings.CutSuffix(name, "_verdict"); ok {
			k := slices.Index(head, tool+"_seconds")
			if k < 0 {
				return fmt.Errorf("%s: published.csv: got the column %s, want %s_seconds, too", d.path, name, tool)
			}
			d.tools, verdicts, seconds = append(d.tools, tool), append(verdicts, i), append(seconds, k)
		}
	}
	d.published = map[string][]publishedRow{}
	for n, r := range rows {
		var list []publishedRow
		for i := range d.tools {
			p := publishedRow{verdict: r[verdicts[i]]}
			if decided(p.verdict) {
				if p.seconds, err = strconv.ParseFloat(r[seconds[i]], 64); err != nil || !(p.seconds >= 0) {
					return fmt.Errorf("%s: published.csv, line %d: got %q seconds of %s, want a number", d.path, n+2, r[seconds[i]], d.tools[i])
				}
			}
			list = append(list, p)
		}
		d.published[key(r[at[0]], r[at[1]])] = list
	}
	return nil
}

// columns returns the head of a table, the lines below it, each as long as that, and where
// the columns of these names are; nil if there is no such file.
func columns(path, name string, want ...string) (head []string, rows [][]string, at []int, err error) {
	rows, err = table(path, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if len(rows) == 0 {
		return nil, nil, nil, fmt.Errorf("%s: %s: got an empty file, want columns %s", path, name, strings.Join(want, ", "))
	}
	for _, w := range want {
		k := slices.Index(rows[0], w)
		if k < 0 {
			return nil, nil, nil, fmt.Errorf("%s: %s: got no column %s, want columns %s", path, name, w, strings.Join(want, ", "))
		}
		at = append(at, k)
	}
	for i, r := range rows {
		if len(r) != len(rows[0]) {
			return nil, nil, nil, fmt.Errorf("%s: %s, line %d: got %d columns, want %d", path, name, i+1, len(r), len(rows[0]))
		}
	}
	return rows[0], rows[1:], at, nil
}

// table reads a CSV file of a folder, or one packed by gzip where only that is there.
func table(folder, name string) ([][]string, error) {
	path := packed(filepath.Join(folder, name))
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: got no gzip file (%w)", path, err)
		}
	}
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// packed returns the name of a file, or of it packed by gzip where only that is there.
func packed(path string) string {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(path + ".gz"); err == nil {
			return path + ".gz"
		}
	}
	return path
}
