// Package filelock keeps two processes from writing one file. The system drops a
// lock when its process ends, however that happens. Where it has no locks
// (WebAssembly, some network file systems), there are none.
package filelock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrLocked tells that another process holds the lock.
var ErrLocked = errors.New("another process is writing it")

// Open opens the file at path for reading and writing, with further flags of
// os.OpenFile but O_TRUNC, and locks it until it is closed. The error wraps ErrLocked if
// another process has the lock.
func Open(path string, flag int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|flag, 0o666)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		// Who held the lock until now may have removed or replaced the file.
		mine, err := f.Stat()
		if err == nil {
			var there fs.FileInfo
			if there, err = os.Stat(path); err == nil && os.SameFile(mine, there) {
				return f, nil
			}
		}
		if cerr := f.Close(); cerr != nil {
			return nil, cerr
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// Reservation is the right to make a file by renaming another one, which leaves
// no file to lock meanwhile: that is an empty one beside it.
type Reservation struct{ f *os.File }

// Reserve creates and locks path.lock. It thereby finds out, before any work,
// whether files can be created there. One that a killed process has left is taken
// over; one that is not empty is somebody's file and an error.
func Reserve(path string) (*Reservation, error) {
	f, err := Open(path+".lock", os.O_CREATE)
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() > 0 || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s: want no file of that name, or an empty one", f.Name()), err, f.Close())
	}
	return &Reservation{f}, nil
}

// Release removes the lock.
func (r *Reservation) Release() { remove(r.f) }

// Remove closes and removes a file that Open has locked.
func Remove(f *os.File) { remove(f) }
