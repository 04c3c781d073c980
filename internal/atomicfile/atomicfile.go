// Package atomicfile writes files whole or not at all.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write makes the file at path hold what write writes, or leaves it as it was
// when write fails or the program dies: the bytes go to a file beside it that is
// synced and then renamed. A symbolic link keeps pointing to its target, which is
// replaced; a path that is no regular file, such as a pipe, is written to directly.
func Write(path string, write func(io.Writer) error) error {
	path, err := Target(path)
	if err != nil {
		return err
	}
	perm := fs.FileMode(0o666)
	switch info, err := os.Stat(path); {
	case err == nil && info.Mode().IsRegular():
		perm = info.Mode().Perm()
	case err == nil:
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(buffered(f, write), f.Close())
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}

	f, err := createBeside(path, perm)
	if err != nil {
		return err
	}
	err = buffered(f, write)
	if err == nil {
		err = f.Sync() // or a crash could leave the new name on an empty file
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	SyncFolder(path)
	return nil
}

// Create is Write of a file that is not there yet. If one of that name is, or appears in the
// meantime, it is left alone, and the error wraps fs.ErrExist: of all that create it, one
// does. The bytes and the name are on the disk when Create returns. The file system must
// have hard links, which is how a name is given to a whole file without taking it away from
// another.
func Create(path string, write func(io.Writer) error) error {
	f, err := createBeside(path, 0o666)
	if err != nil {
		return err
	}
	err = buffered(f, write)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		if err = os.Link(f.Name(), path); err != nil && sameFile(f.Name(), path) {
			err = nil // a network file system did it and lost the answer
		}
	}
	err = errors.Join(err, os.Remove(f.Name()))
	if err == nil {
		SyncFolder(path)
	}
	return err
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// WriteBytes is Write of bytes that are there.
func WriteBytes(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// createBeside creates a new file next to path. Unlike os.CreateTemp it leaves
// the permissions to the umask: the file is to stay.
func createBeside(path string, perm fs.FileMode) (*os.File, error) {
	for range 100 {
		name := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%s: no free name for a temporary file beside it", path)
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriter(w)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}

// Target follows the symbolic links at path to the file that they name, which
// need not exist.
func Target(path string) (string, error) {
	at := path
	for range 40 {
		link, err := os.Readlink(at)
		if err != nil {
			return at, nil // no link
		}
		if !filepath.IsAbs(link) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(at)) // "..", if any, starts there
			if err != nil {
				return "", err
			}
			link = filepath.Join(folder, link)
		}
		at = link
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// SyncFolder makes the name of a file durable, where folders can be synced.
func SyncFolder(path string) {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return // one may write in a folder without being allowed to read it
	}
	_ = d.Sync()
	_ = d.Close()
}
