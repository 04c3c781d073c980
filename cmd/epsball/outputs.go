package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/filelock"
	"github.com/epsball/epsball/verify/cert"
)

// The kinds of files that flags name: how the name ends, and what is in them.
const (
	modelFile = ".safetensors"
	onnxFile  = ".onnx"
	arrayFile = ".npz"
	plotFile  = ".svg"
)

var kinds = map[string]string{
	modelFile: "a model file", onnxFile: "an ONNX network", arrayFile: "an archive of arrays", plotFile: "an SVG picture",
}

// output is what a flag asks a command to write. All commands claim their outputs
// before they work, and write a file whole or not at all.
type output struct {
	flag      string // its name
	path      string // "": nothing is to be written
	kind      string // of kinds; "": any name will do
	appended  bool   // written line by line, under a lock of its own
	byPath    bool   // written and read by its path: a checkpoint
	resumable bool   // the command has --resume for it
	resume    bool   // --resume is given: the file is gone on with

	file    string    // a regular file, links followed; "": a stream
	stdout  io.Writer // if path stands for it
	replace bool      // the file may be there when it is written
	written bool
}

// input is what a flag asks a command to read.
type input struct{ flag, spec string } // no flag: the argument

func (i input) String() string {
	if i.flag == "" {
		return "the command"
	}
	return "--" + i.flag
}

// file returns the path of the file or folder, if there is one.
func (i input) file() (string, fs.FileInfo) {
	if strings.HasPrefix(i.spec, builtinPrefix) {
		return "", nil
	}
	path := i.spec
	info, err := os.Stat(path)
	if err != nil { // FOLDER#train
		path, _, _ = strings.Cut(path, "#")
		info, err = os.Stat(path)
	}
	if err != nil {
		return "", nil
	}
	return path, info
}

// addForce declares --force.
func addForce(c *cobra.Command, force *bool) {
	c.Flags().BoolVar(force, "force", false, "replace a file that is there")
}

// outFlags are those of commands that convert a file.
type outFlags struct {
	path  string
	force bool
}

func (f *outFlags) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.path, "out", "", "`file` to write; -: standard output, and the report to stderr (required)")
	addForce(c, &f.force)
}

// claim refuses outputs that could not be written, that would destroy a file, or
// that another process is writing, before work is spent. What it returns must be
// called when the command is done.
func (a *app) claim(force bool, inputs []input, outputs ...*output) (release func(), err error) {
	var held []*filelock.Reservation
	release = func() {
		for _, r := range held {
			r.Release()
		}
	}
	for i, o := range outputs {
		if o.path == "" {
			continue
		}
		r, err := a.claimOne(o, force, inputs, outputs[:i])
		if err != nil {
			release()
			return nil, fmt.Errorf("--%s: %w", o.flag, err)
		}
		if r != nil {
			held = append(held, r)
		}
	}
	return release, nil
}

func (a *app) claimOne(o *output, force bool, inputs []input, others []*output) (*filelock.Reservation, error) {
	if fd, ok := descriptor(o.path); ok {
		return nil, a.claimStream(o, fd, others)
	}
	path, err := atomicfile.Target(o.path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	exists := err == nil
	switch {
	case exists && info.IsDir():
		return nil, fmt.Errorf("%s is a folder, want a file", o.path)
	case exists && !info.Mode().IsRegular():
		if o.resume || o.byPath {
			return nil, fmt.Errorf("%s is not a regular file, so nothing can go on from it", o.path)
		}
		return nil, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	o.file, o.replace = path, force || o.resume
	if exists {
		if err := o.checkInputs(info, inputs); err != nil {
			return nil, err
		}
	}
	if err := o.checkKind(); err != nil {
		return nil, err
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return nil, fmt.Errorf("%s: there is no folder %s", o.path, filepath.Dir(path))
	}
	for _, other := range others {
		if other.file != "" && samePath(path, other.file) {
			return nil, fmt.Errorf("%s: --%s writes the same file", o.path, other.flag)
		}
	}
	if o.appended && exists {
		if err := cert.Busy(path); err != nil {
			return nil, err
		}
	}
	if exists && !o.replace {
		if o.resumable {
			return nil, fmt.Errorf("%s exists; go on with it by --resume, replace it by --force, or name another file", o.path)
		}
		return nil, fmt.Errorf("%s exists; name another file, or replace it by --force", o.path)
	}
	if o.appended && exists {
		return nil, nil
	}
	r, err := filelock.Reserve(path)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%s: no file can be created in folder %s: %w", o.path, filepath.Dir(path), failed.Err)
	}
	if err == nil && o.appended { // it is a lock of its own
		r.Release()
		r = nil
	}
	return r, err
}

// claimStream prepares standard output or another open file.
func (a *app) claimStream(o *output, fd int, others []*output) error {
	if o.resume || o.byPath {
		return fmt.Errorf("%s is not a regular file, so nothing can go on from it", o.path)
	}
	switch fd {
	case 1:
		for _, other := range others {
			if other.stdout != nil {
				return fmt.Errorf("standard output is taken by --%s", other.flag)
			}
		}
		o.stdout, a.results = a.stdout, a.stderr
	case 2:
		o.stdout = a.stderr
	default:
		if _, err := os.Stat(o.path); err != nil {
			return err
		}
	}
	return nil
}

var descriptorPath = regexp.MustCompile(`^/(?:dev|proc/self)/fd/(\d{1,6})$`)

// descriptor returns the number of an open file that a path stands for. To open
// such a path anew would lose the place in the file, or the file itself.
func descriptor(path string) (int, bool) {
	switch path {
	case "-", "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	m := descriptorPath.FindStringSubmatch(path)
	if m == nil {
		return 0, false
	}
	fd, err := strconv.Atoi(m[1])
	return fd, err == nil
}

// checkKind refuses names that say what the file is not.
func (o *output) checkKind() error {
	if o.kind != "" {
		if !strings.HasSuffix(o.path, o.kind) {
			return fmt.Errorf("%s: what is written is %s, want a name that ends in %s", o.path, kinds[o.kind], o.kind)
		}
		return nil
	}
	ext := filepath.Ext(o.path)
	if o.appended && (kinds[ext] != "" || slices.Contains([]string{".png", ".jpg", ".jpeg", ".npy", ".gz", ".pt", ".pth"}, ext)) {
		return fmt.Errorf("%s: what is written are lines of JSON, want a name such as certs.jsonl", o.path)
	}
	return nil
}

// checkInputs refuses a file that the command reads, by whatever name.
func (o *output) checkInputs(info fs.FileInfo, inputs []input) error {
	for _, in := range inputs {
		path, read := in.file()
		switch {
		case read == nil:
		case os.SameFile(info, read):
			return fmt.Errorf("%s is what %s reads, want another file", o.path, in)
		case read.IsDir() && o.kind == "" && !o.resume && inside(path, o.file):
			return fmt.Errorf("%s is in the folder that %s reads, want a file that is not", o.path, in)
		}
	}
	return nil
}

// inside tells whether a file is in a folder or below it.
func inside(folder, file string) bool {
	folder, err1 := filepath.EvalSymlinks(folder)
	file, err2 := filepath.EvalSymlinks(file)
	folder, err3 := filepath.Abs(folder)
	file, err4 := filepath.Abs(file)
	rel, err := filepath.Rel(folder, file)
	return errors.Join(err, err1, err2, err3, err4) == nil && filepath.IsLocal(rel)
}

// samePath tells whether two paths, of files that need not exist, are of one file.
func samePath(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	dirA, errX := os.Stat(filepath.Dir(a))
	dirB, errY := os.Stat(filepath.Dir(b))
	return filepath.Base(a) == filepath.Base(b) && errX == nil && errY == nil && os.SameFile(dirA, dirB)
}

// exists reports whether there is something at the output's path, a link followed.
func (o *output) exists() bool {
	_, err := os.Stat(o.path)
	return err == nil
}

// isFile reports whether the output is a regular file, which can be written twice.
func (o *output) isFile() bool { return o.file != "" }

// write writes the output, if there is one.
func (o *output) write(write func(io.Writer) error) error {
	if o.path == "" {
		return nil
	}
	if err := o.put(write); err != nil {
		return fmt.Errorf("--%s: %w", o.flag, err)
	}
	o.written = true
	return nil
}

func (o *output) writeBytes(data []byte) error {
	return o.write(func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (o *output) put(write func(io.Writer) error) error {
	if !o.isFile() {
		w, err := o.stream()
		if err != nil {
			return err
		}
		b := bufio.NewWriter(w)
		if err = write(b); err == nil {
			err = b.Flush()
		}
		return errors.Join(err, w.Close())
	}
	if _, err := os.Lstat(o.file); err == nil && !o.replace {
		other := freeName(o.file)
		if err := atomicfile.Write(other, write); err != nil {
			return err
		}
		return fmt.Errorf("%s has appeared since the command started and is left alone; the result is in %s", o.path, other)
	}
	o.replace = true // from now on it is this command's
	return atomicfile.Write(o.file, write)
}

// shown is how tables name the output.
func (o *output) shown() string {
	if fd, ok := descriptor(o.path); ok && fd == 1 {
		return "to standard output"
	}
	return o.path
}

// freeName returns a name like that of a file which is taken.
func freeName(path string) string {
	ext := filepath.Ext(path)
	for i := 1; ; i++ {
		name := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i, ext)
		if _, err := os.Lstat(name); err != nil {
			return name
		}
	}
}

// stream opens an output that is not a regular file.
func (o *output) stream() (io.WriteCloser, error) {
	if o.stdout != nil {
		return keepOpen{o.stdout}, nil
	}
	if fd, ok := descriptor(o.path); ok {
		return os.NewFile(uintptr(fd), o.path), nil
	}
	return os.OpenFile(o.path, os.O_WRONLY, 0)
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }
