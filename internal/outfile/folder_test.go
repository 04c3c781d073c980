package outfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFolder(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "pictures")
	fill := func(text string) func(string) error {
		return func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, "a"), 0o777); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "a", text), []byte(text), 0o666)
		}
	}
	names := func(dir string) (all []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	folder := func() *Folder { return &Folder{Flag: "png", Path: path, Parts: []string{"a"}} }

	f := folder()
	release, err := f.Claim(false, nil)
	require.NoError(t, err)
	_, err = folder().Claim(false, nil)
	require.ErrorContains(t, err, "another process is writing it")
	broken := errors.New("broken")
	require.ErrorIs(t, f.Write(func(string) error { return broken }), broken)
	require.False(t, f.Written)
	require.Equal(t, []string{"pictures.lock"}, names(home), "nothing is left of what failed")
	require.NoError(t, f.Write(fill("one")))
	require.True(t, f.Written)
	release()
	require.Equal(t, []string{"pictures"}, names(home))
	require.Equal(t, []string{"one"}, names(filepath.Join(path, "a")))

	// One that is there is replaced if that is asked for, and never what else is in it.
	_, err = folder().Claim(false, nil)
	require.ErrorContains(t, err, "--png: "+path+" exists; name another folder, or replace what is in it by --force")
	f = folder()
	release, err = f.Claim(true, nil)
	require.NoError(t, err)
	require.NoError(t, f.Write(fill("two")))
	release()
	require.Equal(t, []string{"two"}, names(filepath.Join(path, "a")))
	require.Equal(t, []string{"pictures"}, names(home))

	f = folder()
	release, err = f.Claim(true, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(path, "theirs"), nil, 0o666))
	require.ErrorContains(t, f.Write(fill("three")), "has files in it, such as theirs; name another folder; the result is in ")
	release()
	require.Equal(t, []string{"two"}, names(filepath.Join(path, "a")))
	_, err = folder().Claim(true, nil)
	require.ErrorContains(t, err, "has files in it, such as theirs")

	for _, c := range []struct{ path, want string }{
		{"-", "got -, want a folder"},
		{filepath.Join(path, "theirs"), "is a file, want a folder"},
		{filepath.Join(home, "none", "a"), "there is no folder " + filepath.Join(home, "none")},
	} {
		f := &Folder{Flag: "png", Path: c.path}
		_, err := f.Claim(true, nil)
		require.ErrorContains(t, err, c.want)
	}
	f = &Folder{Flag: "png", Path: path, Parts: []string{"a", "theirs"}}
	_, err = f.Claim(true, []Input{{"data", filepath.Join(path, "a")}})
	require.ErrorContains(t, err, "has what --data reads")
	f = &Folder{Flag: "png"}
	release, err = f.Claim(false, nil)
	require.NoError(t, err)
	release()
	require.NoError(t, f.Write(fill("none")))
	require.False(t, f.Written)
}
