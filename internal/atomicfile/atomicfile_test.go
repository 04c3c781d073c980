package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

var errFull = errors.New("disk full")

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npz")
	write := func(text string, err error) error {
		return Write(path, func(w io.Writer) error {
			if _, werr := io.WriteString(w, text); werr != nil {
				return werr
			}
			return err
		})
	}
	requireContents := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	require.ErrorIs(t, write("part of", errFull), errFull)
	require.NoFileExists(t, path)
	require.NoError(t, write("first", nil))
	requireContents("first")
	require.ErrorIs(t, write("part of", errFull), errFull)
	requireContents("first")

	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, write("second", nil))
	requireContents("second")
	if runtime.GOOS == "windows" || runtime.GOOS == "wasip1" {
		return // no modes, and links need a privilege
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	target := path
	path = filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(target, path))
	require.NoError(t, write("third", nil))
	requireContents("third")
	info, err = os.Lstat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)

	// A link to a file that is not there yet makes that file.
	path = filepath.Join(dir, "dangling")
	require.NoError(t, os.Symlink("later.npz", path))
	require.NoError(t, write("fourth", nil))
	requireContents("fourth")
	require.FileExists(t, filepath.Join(dir, "later.npz"))
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	_, err = Target(loop)
	require.ErrorContains(t, err, "too many symbolic links")

	path = os.DevNull
	require.NoError(t, write("into a device", nil))
	path = filepath.Join(dir, "no", "folder")
	require.Error(t, write("", nil))
}
