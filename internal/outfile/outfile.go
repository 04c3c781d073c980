// Package outfile holds the files that a command is asked to write: it claims them
// before the command works, and writes each whole or not at all.
package outfile

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

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/filelock"
	"github.com/epsball/epsball/internal/journal"
)

// The kinds of files that flags name: how the name ends, and what is in them.
const (
	Model = ".safetensors"
	ONNX  = ".onnx"
	Array = ".npz"
	Plot  = ".svg"
	Image = ".png"
	Page  = ".html"
)

var kinds = map[string]string{
	Model: "a model file", ONNX: "an ONNX network", Array: "an archive of arrays", Plot: "an SVG picture",
	Image: "a PNG picture", Page: "a page of HTML",
}

// Output is what a flag asks a command to write. All commands claim their outputs
// before they work, and write a file whole or not at all.
type Output struct {
	Flag      string // its name
	Path      string // "": nothing is to be written
	Kind      string // how the name must end, such as Model; "": any name will do
	Appended  bool   // written line by line, under a lock of its own
	ByPath    bool   // written and read by its path: a checkpoint
	Resumable bool   // the command has --resume for it
	Resume    bool   // --resume is given: the file is gone on with

	// Set by Claim and Write.
	File    string // a regular file, links followed; "": a stream
	Replace bool   // the file may be there when it is written
	Written bool

	stdout io.Writer // if Path stands for it
}

// Input is what a flag asks a command to read.
type Input struct{ Flag, Spec string } // no flag: the argument

func (i Input) String() string {
	if i.Flag == "" {
		return "the command"
	}
	return "--" + i.Flag
}

// file returns the path of the file or folder, if there is one.
func (i Input) file() (string, fs.FileInfo) {
	if strings.HasPrefix(i.Spec, "builtin:") {
		return "", nil
	}
	path := i.Spec
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

// Streams are the standard ones of the command.
type Streams struct{ Stdout, Stderr io.Writer }

// Claim refuses outputs that could not be written, that would destroy a file, or
// that another process is writing, before work is spent. What it returns must be
// called when the command is done. onStdout reports whether an output takes standard
// output, where the command's result would go.
func (s Streams) Claim(force bool, inputs []Input, outputs ...*Output) (release func(), onStdout bool, err error) {
	var held []*filelock.Reservation
	release = func() {
		for _, r := range held {
			r.Release()
		}
	}
	for i, o := range outputs {
		if o.Path == "" {
			continue
		}
		r, err := s.claimOne(o, force, inputs, outputs[:i])
		if err != nil {
			release()
			return nil, false, fmt.Errorf("--%s: %w", o.Flag, err)
		}
		if fd, ok := Descriptor(o.Path); ok && fd == 1 {
			onStdout = true
		}
		if r != nil {
			held = append(held, r)
		}
	}
	return release, onStdout, nil
}

func (s Streams) claimOne(o *Output, force bool, inputs []Input, others []*Output) (*filelock.Reservation, error) {
	if fd, ok := Descriptor(o.Path); ok {
		return nil, s.claimStream(o, fd, others)
	}
	path, err := atomicfile.Target(o.Path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	exists := err == nil
	switch {
	case exists && info.IsDir():
		return nil, fmt.Errorf("%s is a folder, want a file", o.Path)
	case exists && !info.Mode().IsRegular():
		if o.Resume || o.ByPath {
			return nil, fmt.Errorf("%s is not a regular file, so nothing can go on from it", o.Path)
		}
		return nil, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	o.File, o.Replace = path, force || o.Resume
	if exists {
		if err := o.checkInputs(info, inputs); err != nil {
			return nil, err
		}
	}
	if err := o.checkKind(); err != nil {
		return nil, err
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return nil, fmt.Errorf("%s: there is no folder %s", o.Path, filepath.Dir(path))
	}
	for _, other := range others {
		if other.File != "" && samePath(path, other.File) {
			return nil, fmt.Errorf("%s: --%s writes the same file", o.Path, other.Flag)
		}
	}
	if o.Appended && exists {
		if err := journal.Busy(path); err != nil {
			return nil, err
		}
	}
	if exists && !o.Replace {
		if o.Resumable {
			return nil, fmt.Errorf("%s exists; go on with it by --resume, replace it by --force, or name another file", o.Path)
		}
		return nil, fmt.Errorf("%s exists; name another file, or replace it by --force", o.Path)
	}
	if o.Appended && exists {
		return nil, nil
	}
	r, err := filelock.Reserve(path)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%s: no file can be created in folder %s: %w", o.Path, filepath.Dir(path), failed.Err)
	}
	if err == nil && o.Appended { // it is a lock of its own
		r.Release()
		r = nil
	}
	return r, err
}

// claimStream prepares standard output or another open file.
func (s Streams) claimStream(o *Output, fd int, others []*Output) error {
	if o.Resume || o.ByPath {
		return fmt.Errorf("%s is not a regular file, so nothing can go on from it", o.Path)
	}
	switch fd {
	case 1:
		for _, other := range others {
			if other.stdout != nil {
				return fmt.Errorf("standard output is taken by --%s", other.Flag)
			}
		}
		o.stdout = s.Stdout
	case 2:
		o.stdout = s.Stderr
	default:
		if _, err := os.Stat(o.Path); err != nil {
			return err
		}
	}
	return nil
}

var descriptorPath = regexp.MustCompile(`^/(?:dev|proc/self)/fd/(\d{1,6})$`)

// Descriptor returns the number of an open file that a path stands for. To open
// such a path anew would lose the place in the file, or the file itself.
func Descriptor(path string) (int, bool) {
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
func (o *Output) checkKind() error {
	if o.Kind != "" {
		if !strings.HasSuffix(o.Path, o.Kind) {
			return fmt.Errorf("%s: what is written is %s, want a name that ends in %s", o.Path, kinds[o.Kind], o.Kind)
		}
		return nil
	}
	ext := filepath.Ext(o.Path)
	if o.Appended && (kinds[ext] != "" || slices.Contains([]string{".png", ".jpg", ".jpeg", ".npy", ".gz", ".pt", ".pth"}, ext)) {
		return fmt.Errorf("%s: what is written are lines of JSON, want a name such as certs.jsonl", o.Path)
	}
	return nil
}

// checkInputs refuses a file that the command reads, by whatever name.
func (o *Output) checkInputs(info fs.FileInfo, inputs []Input) error {
	for _, in := range inputs {
		path, read := in.file()
		switch {
		case read == nil:
		case os.SameFile(info, read):
			return fmt.Errorf("%s is what %s reads, want another file", o.Path, in)
		case read.IsDir() && o.Kind == "" && !o.Resume && inside(path, o.File):
			return fmt.Errorf("%s is in the folder that %s reads, want a file that is not", o.Path, in)
		}
	}
	return nil
}

// inside reports whether a file is in a folder or below it.
func inside(folder, file string) bool {
	folder, err1 := filepath.EvalSymlinks(folder)
	file, err2 := filepath.EvalSymlinks(file)
	folder, err3 := filepath.Abs(folder)
	file, err4 := filepath.Abs(file)
	rel, err := filepath.Rel(folder, file)
	return errors.Join(err, err1, err2, err3, err4) == nil && filepath.IsLocal(rel)
}

// samePath reports whether two paths, of files that need not exist, are of one file.
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

// Exists reports whether there is something at the output's path, a link followed.
func (o *Output) Exists() bool {
	_, err := os.Stat(o.Path)
	return err == nil
}

// IsFile reports whether the output is a regular file, which can be written twice.
func (o *Output) IsFile() bool { return o.File != "" }

// Write writes the output, if there is one.
func (o *Output) Write(write func(io.Writer) error) error {
	if o.Path == "" {
		return nil
	}
	if err := o.put(write); err != nil {
		return fmt.Errorf("--%s: %w", o.Flag, err)
	}
	o.Written = true
	return nil
}

// WriteBytes is Write of bytes that are there.
func (o *Output) WriteBytes(data []byte) error {
	return o.Write(func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (o *Output) put(write func(io.Writer) error) error {
	if !o.IsFile() {
		w, err := o.Stream()
		if err != nil {
			return err
		}
		b := bufio.NewWriter(w)
		if err = write(b); err == nil {
			err = b.Flush()
		}
		return errors.Join(err, w.Close())
	}
	if _, err := os.Lstat(o.File); err == nil && !o.Replace {
		other := freeName(o.File)
		if err := atomicfile.Write(other, write); err != nil {
			return err
		}
		return fmt.Errorf("%s has appeared since the command started and is left alone; the result is in %s", o.Path, other)
	}
	o.Replace = true // from now on it is this command's
	return atomicfile.Write(o.File, write)
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

// Stream opens an output that is not a regular file.
func (o *Output) Stream() (io.WriteCloser, error) {
	if o.stdout != nil {
		return keepOpen{o.stdout}, nil
	}
	if fd, ok := Descriptor(o.Path); ok {
		return os.NewFile(uintptr(fd), o.Path), nil
	}
	return os.OpenFile(o.Path, os.O_WRONLY, 0)
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }
