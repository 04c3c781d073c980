package dataset

import (
	"io"

	"github.com/epsball/epsball/internal/atomicfile"
)

// WriteFile makes the file at path hold what write writes, or leaves it as it
// was when write fails or the program dies: the bytes go to a file beside it
// that is synced and then renamed. A symbolic link keeps pointing to its target,
// which is replaced; a path that is no regular file, such as a pipe, is written
// to directly.
func WriteFile(path string, write func(io.Writer) error) error {
	return atomicfile.Write(path, write)
}
