package cert

import (
	"cmp"
	"fmt"
	"io"

	"github.com/epsball/epsball/internal/journal"
	"github.com/epsball/epsball/verify/check"
)

// File is a file of certificates being written. Each Append is one write and
// one sync: what has been appended survives a kill and a power cut, and a kill
// during Append loses no more than its certificates. It must be used by one
// goroutine at a time, and is locked against other processes where the system has
// locks.
type File struct {
	file *journal.File
	buf  []byte
}

// Create starts a file. One that is there is an error that wraps fs.ErrExist, or
// says that another process is writing it.
func Create(path string) (*File, error) { return open(journal.Create(path)) }

// Replace starts a file in place of one that is there, which is emptied under the
// lock, or creates it.
func Replace(path string) (*File, error) { return open(journal.Replace(path)) }

// Stream writes certificates to w, such as a pipe: each Append is one write.
func Stream(w io.Writer) *File { return &File{file: journal.Stream(w)} }

func open(f *journal.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return &File{file: f}, nil
}

// Busy returns an error if another process has the file at path open as a File.
func Busy(path string) error { return journal.Busy(path) }

// head is what every line starts with.
var head = []byte(`{"format":"` + check.Format + `",`)

// Resume opens a file to go on with, or creates it. A torn last line is cut off, and so is
// a last certificate by branch and bound without all of its steps. It returns the
// certificates that are there, by image, without their slopes. Their model, level, data, norm and run must be like's; if not,
// for a line that is not a certificate or repeats an image, and if another process
// is writing the file, it returns an error that says so, and the file is as it was.
func Resume(path string, like *check.Certificate) (*File, map[int]*check.Certificate, error) {
	done := map[int]*check.Certificate{}
	var steps *stepsOf
	f, err := open(journal.Resume(path, head, func(line []byte) error {
		if steps != nil {
			ended, err := steps.next(line)
			if err != nil || !ended {
				return cmp.Or(err, journal.ErrUnfinished)
			}
			steps = nil
			return nil
		}
		c, err := check.Parse(line)
		if err != nil {
			return journal.Damaged(err)
		}
		if err := same(c, like); err != nil {
			return err
		}
		if done[c.Index] != nil {
			return fmt.Errorf("image %d is there already", c.Index)
		}
		c.Slopes = nil
		done[c.Index] = c
		if c.HasSteps() {
			steps = &stepsOf{c: c}
			return journal.ErrUnfinished
		}
		return nil
	}))
	if err != nil {
		return nil, nil, err
	}
	if steps != nil { // cut off
		delete(done, steps.c.Index)
	}
	return f, done, nil
}

// stepsOf reads the steps of a certificate.
type stepsOf struct {
	c *check.Certificate
	n int
}

func (s *stepsOf) next(line []byte) (ended bool, err error) {
	step, err := check.ParseStep(line)
	if err != nil {
		return false, journal.Damaged(err)
	}
	if s.n++; step.Of != s.c.Sum || step.Number != s.n {
		return false, fmt.Errorf("step: got %d of %.12s…, expected %d of %.12s…", step.Number, step.Of, s.n, s.c.Sum)
	}
	return step.End, nil
}

// same reports, by its error, whether two certificates are of one run.
func same(c, like *check.Certificate) error {
	for _, f := range []struct{ name, got, want string }{
		{"model", c.Model, like.Model},
		{"level", c.Level, like.Level},
		{"data", c.Data, like.Data},
		{"norm", c.Norm, like.Norm},
		{"run", c.Run, like.Run},
	} {
		if f.got != f.want {
			return fmt.Errorf("%s: got %.80q, but this run has %.80q", f.name, f.got, f.want)
		}
	}
	return nil
}

// Append writes certificates and makes them durable. On an error none of them
// is in the file, unless cutting it back fails, too.
func (f *File) Append(certs ...*check.Certificate) error {
	f.buf = f.buf[:0]
	var err error
	for _, c := range certs {
		if c.HasSteps() {
			return fmt.Errorf("certificate of image %d: it has steps, which AppendLines writes with it", c.Index)
		}
		if f.buf, err = Append(f.buf, c); err != nil {
			return err
		}
	}
	return f.file.Append(f.buf)
}

// AppendLines writes whole lines, such as those of a certificate by branch and bound
// (bab.Lines), and makes them durable, as Append does.
func (f *File) AppendLines(lines []byte) error { return f.file.Append(lines) }

// Close closes the file. One that Create has made is removed if nothing was
// appended.
func (f *File) Close() error { return f.file.Close() }
