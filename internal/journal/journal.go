// Package journal keeps what a long run has done in a file of JSON lines, so that a
// run that was killed goes on where it was. A line is whole or not there: each
// Append is one write and one sync, each line is sealed by a hash of its bytes, and
// Resume cuts off what a kill has torn. A file is locked while it is written.
//
// What the lines say is the caller's: certificates (verify/cert) and attacked
// images (internal/runlog).
package journal

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

// File is a journal being written. What has been appended survives a kill and a
// power cut, and a kill during Append loses no more than its lines. It must be used
// by one goroutine at a time, and is locked against other processes where the
// system has locks.
type File struct {
	f      *os.File
	size   int64 // of what is whole
	create bool  // by Create
	stream io.Writer
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

// Stream writes lines to w, such as a pipe: each Append is one write.
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

// damage marks errors of lines that cannot be read, as against those that do not
// belong.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// Damaged marks the error of a line that cannot be read. If the line is the last one
// and begins as the journal's do, Resume cuts it off.
func Damaged(err error) error { return damage{err} }

// ErrUnfinished is what take of Resume returns for a line that is whole, but counts only
// with those after it. Such lines at the end of a file are cut off.
var ErrUnfinished = errors.New("the lines after it are missing")

// Resume opens a file to go on with, or creates it. It hands each line, without its
// newline, to take, whose error refuses the file: one marked Damaged unless the line
// is the last. A last line without its newline is cut off if it begins with head,
// as far as it goes: the rest of somebody else's file is not for us to cut. A file
// that is refused, or that another process is writing, is left as it was.
func Resume(path string, head []byte, take func(line []byte) error) (*File, error) {
	f, err := filelock.Open(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	size, err := read(f, head, take)
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
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	atomicfile.SyncFolder(path)
	return &File{f: f, size: size}, nil
}

// Read hands each line of a journal that is complete to take: what Resume would cut off is
// an error here.
func Read(r io.Reader, take func(line []byte) error) error {
	lines := check.NewLines(r)
	var last error
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return last
		}
		if err == nil {
			err = take(line)
		}
		if last = nil; err != nil {
			last = fmt.Errorf("line %d: %w", lines.Number, err)
			if !errors.Is(err, ErrUnfinished) {
				return last
			}
		}
	}
}

// read returns the size of the whole lines of a file.
func read(r io.Reader, head []byte, take func(line []byte) error) (int64, error) {
	lines := check.NewLines(r)
	size := int64(0)
	var bad error
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return size, nil
		case bad != nil:
			return 0, bad
		case errors.Is(err, check.ErrTorn) && begins(line, head):
			continue
		case err != nil && !errors.Is(err, check.ErrTorn) && !errors.Is(err, check.ErrLong):
			return 0, err
		}
		if err != nil {
			err = Damaged(err)
		} else {
			err = take(line)
		}
		var d damage
		switch {
		case err == nil:
			size = lines.Offset
		case errors.Is(err, ErrUnfinished):
		case errors.As(err, &d) && begins(line, head):
			bad = fmt.Errorf("line %d: %w", lines.Number, err) // unless it is the last
		default:
			return 0, fmt.Errorf("line %d: %w", lines.Number, err)
		}
	}
}

// begins reports whether a line may be what is left of one of ours: a part of it,
// and the zeros that a power cut can leave.
func begins(line, head []byte) bool {
	line = bytes.TrimRight(line, "\x00")
	n := min(len(line), len(head))
	return bytes.Equal(line[:n], head[:n])
}

// Append writes whole lines and makes them durable. On an error none of them is in
// the file, unless cutting it back fails, too.
func (f *File) Append(lines []byte) error {
	if f.stream != nil {
		_, err := f.stream.Write(lines)
		return err
	}
	n, err := f.f.Write(lines)
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

// Keep makes Close leave the file, be it empty.
func (f *File) Keep() { f.create = false }

// Remove closes the file and deletes it.
func (f *File) Remove() {
	if f.stream == nil {
		filelock.Remove(f.f)
	}
}
