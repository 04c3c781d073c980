package cert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/epsball/epsball/internal/atomicfile"
	"github.com/epsball/epsball/internal/filelock"
	"github.com/epsball/epsball/verify/check"
)

// File is a file of certificates being written. Each Append is one write and
// one sync: what has been appended survives a kill and a power cut, and a kill
// during Append loses no more than its certificates. It must be used by one
// goroutine at a time, and is locked against other processes where the system has
// locks.
type File struct {
	f      *os.File
	size   int64 // of what is whole
	create bool  // by Create
	stream io.Writer
	buf    []byte
}

// Create starts a file. One that is there is an error that wraps fs.ErrExist, or
// says that another process is writing it.
func Create(path string) (*File, error) {
	f, err := filelock.Open(path, os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		if busy := Busy(path); busy != nil {
			return nil, busy
		}
	}
	if err != nil {
		return nil, err
	}
	atomicfile.SyncFolder(path)
	return &File{f: f, create: true}, nil
}

// Replace starts a file in place of one that is there, which is emptied under the
// lock, or creates it.
func Replace(path string) (*File, error) {
	f, err := filelock.Open(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	atomicfile.SyncFolder(path)
	return &File{f: f}, nil
}

// Stream writes certificates to w, such as a pipe: each Append is one write.
func Stream(w io.Writer) *File { return &File{stream: w} }

// Busy returns an error if another process has the file at path open as a File.
func Busy(path string) error {
	f, err := filelock.Open(path, 0)
	if errors.Is(err, filelock.ErrLocked) {
		return err
	}
	if err == nil {
		_ = f.Close()
	}
	return nil
}

// Resume opens a file to go on with, or creates it. A torn last line is cut
// off. It returns the certificates that are there, by image, without their
// slopes. Their model, level, data, norm and run must be like's; if not,
// for a line that is not a certificate or repeats an image, and if another process
// is writing the file, it returns an error that says so, and the file is as it was.
func Resume(path string, like *check.Certificate) (*File, map[int]*check.Certificate, error) {
	f, err := filelock.Open(path, os.O_CREATE)
	if err != nil {
		return nil, nil, err
	}
	done, size, err := read(f, like)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	atomicfile.SyncFolder(path)
	return &File{f: f, size: size}, done, nil
}

// head is what every line starts with.
var head = []byte(`{"format":"` + check.Format + `",`)

// ours tells whether a line that is no certificate may be what is left of one: a
// part of it, and the zeros that a power cut can leave. The rest of somebody
// else's file is not for us to cut off.
func ours(line []byte) bool {
	line = bytes.TrimRight(line, "\x00")
	n := min(len(line), len(head))
	return bytes.Equal(line[:n], head[:n])
}

// read returns the certificates of a file and the size of its whole lines. The
// last line may be torn.
func read(r io.Reader, like *check.Certificate) (map[int]*check.Certificate, int64, error) {
	done := map[int]*check.Certificate{}
	lines := check.NewLines(r)
	size := int64(0)
	var bad error
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return done, size, nil
		case bad != nil:
			return nil, 0, bad
		case errors.Is(err, check.ErrTorn) && ours(line):
			continue
		case err != nil && !errors.Is(err, check.ErrTorn) && !errors.Is(err, check.ErrLong):
			return nil, 0, err
		}
		var c *check.Certificate
		if err == nil {
			c, err = check.Parse(line)
		}
		if err != nil {
			if err = fmt.Errorf("line %d: %w", lines.Number, err); !ours(line) {
				return nil, 0, err
			}
			bad = err // unless it is the last
			continue
		}
		if err := same(c, like); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", lines.Number, err)
		}
		if done[c.Index] != nil {
			return nil, 0, fmt.Errorf("line %d: image %d is there already", lines.Number, c.Index)
		}
		c.Slopes = nil
		done[c.Index] = c
		size = lines.Offset
	}
}

// same tells whether two certificates are of one run.
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
		if f.buf, err = Append(f.buf, c); err != nil {
			return err
		}
	}
	if f.stream != nil {
		_, err := f.stream.Write(f.buf)
		return err
	}
	n, err := f.f.Write(f.buf)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		_, seek := f.f.Seek(f.size, io.SeekStart)
		return errors.Join(err, f.f.Truncate(f.size), seek)
	}
	f.size += int64(n)
	return nil
}

// Close closes the file. One that Create has made is removed if nothing was
// appended.
func (f *File) Close() error {
	switch {
	case f.stream != nil:
		return nil
	case f.create && f.size == 0:
		filelock.Remove(f.f)
		return nil
	}
	return f.f.Close()
}
