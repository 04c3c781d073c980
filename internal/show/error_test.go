package show

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What Go's library says is said in the words of a user.
func TestError(t *testing.T) {
	_, notNumber := strconv.Atoi("x")
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "open", Path: "a.npz", Err: fs.ErrNotExist}, "a.npz: no such file or folder"},
		{&fs.PathError{Op: "open", Path: "a.npz", Err: fs.ErrPermission}, "a.npz: permission denied"},
		{fmt.Errorf("a.npz: %w", &fs.PathError{Op: "read", Path: "a.npz", Err: errors.New("bad disk")}), "a.npz: bad disk"},
		{fmt.Errorf("--out: %w", &os.LinkError{Op: "rename", Old: "t", New: "a.npz", Err: fs.ErrExist}), "--out: a.npz: exists already"},
		{fmt.Errorf("--n: %w", notNumber), `--n: "x" is not a number that fits`},
		{fmt.Errorf("--peers: %w", &exec.Error{Name: "py", Err: exec.ErrNotFound}), "--peers: py: no such program"},
		{fmt.Errorf("model m: %w", context.Canceled), "model m: interrupted"},
		{errors.New("a\n\nb\n"), "a; b"},
		{fmt.Errorf("a.npz: %w", io.ErrUnexpectedEOF), "a.npz: the file ends early"},
	} {
		assert.Equal(t, c.want, Error(c.err))
	}
}
