package kernels

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// pageEnd returns n values that end where a page ends that must not be touched.
func pageEnd(t *testing.T, n int) []float32 {
	page := syscall.Getpagesize()
	room := (4*n + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, room+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(b)) })
	require.NoError(t, syscall.Mprotect(b[room:], syscall.PROT_NONE))
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[room-4*n])), n)
}
