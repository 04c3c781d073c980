//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd

package model

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"
)

// mapFile maps a file, shared and read-only.
func mapFile(path string) (data []byte, free func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // the mapping stays
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	switch n := info.Size(); {
	case !info.Mode().IsRegular(): // a pipe, say, has no pages
		data, err = os.ReadFile(path)
		return data, nil, err
	case n == 0:
		return nil, nil, nil
	case n > math.MaxInt:
		return nil, nil, &fs.PathError{Op: "mmap", Path: path, Err: fmt.Errorf("%d bytes do not fit the address space", n)}
	}
	data, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, func() error { return syscall.Munmap(data) }, nil
}
