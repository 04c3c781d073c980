package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/journal"
)

type line struct {
	Format string `json:"format"`
	N      int    `json:"n"`
}

var head = []byte(`{"format":"test",`)

func sealed(t *testing.T, ns ...int) []byte {
	var b []byte
	for _, n := range ns {
		var err error
		b, err = journal.Seal(b, line{"test", n})
		require.NoError(t, err)
	}
	return b
}

// resume returns the numbers that a file has.
func resume(path string) (f *journal.File, ns []int, err error) {
	f, err = journal.Resume(path, head, func(b []byte) error {
		var l line
		if err := journal.Unseal(b, &l); err != nil {
			return err
		}
		if l.N == 13 {
			return errors.New("not 13")
		}
		ns = append(ns, l.N)
		return nil
	})
	return f, ns, err
}

func TestSeal(t *testing.T) {
	b := sealed(t, 5)
	var l line
	require.NoError(t, journal.Unseal(bytes.TrimSuffix(b, []byte("\n")), &l))
	require.Equal(t, line{"test", 5}, l)
	for i := range len(b) - 1 {
		for bit := range 8 {
			bad := bytes.Clone(b[:len(b)-1])
			bad[i] ^= 1 << bit
			require.Error(t, journal.Unseal(bad, &l), "byte %d", i)
		}
	}
	require.Error(t, journal.Unseal(nil, &l))
	require.Error(t, journal.Unseal(b[:len(b)-1], &struct{ Other int }{}), "a key that is not known")
	for _, v := range []any{[]int{1}, struct{}{}, func() {}} {
		_, err := journal.Seal(nil, v)
		require.Error(t, err)
	}
}

// TestResume: torn at any byte, the file goes on with its whole lines.
func TestResume(t *testing.T) {
	whole := sealed(t, 0, 1, 2)
	path := filepath.Join(t.TempDir(), "j")
	for cut := range len(whole) + 1 {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o666))
		f, ns, err := resume(path)
		require.NoError(t, err, "cut at %d", cut)
		require.Len(t, ns, bytes.Count(whole[:cut], []byte("\n")))
		for n := len(ns); n < 3; n++ {
			require.NoError(t, f.Append(sealed(t, n)))
		}
		require.NoError(t, f.Close())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, whole, got)
	}
	for want, b := range map[string][]byte{
		"line 2: not 13":              sealed(t, 1, 13, 2),
		"line 3: not 13":              sealed(t, 1, 2, 13),
		"line 1: sum":                 []byte("dear diary\n"),
		"line 1: the line has no end": []byte("dear diary"),
		"line 2: sum":                 append(append(sealed(t, 1), `{"format":"test","n":2}`+"\n"...), sealed(t, 3)...),
	} {
		require.NoError(t, os.WriteFile(path, b, 0o666))
		_, _, err := resume(path)
		require.ErrorContains(t, err, path+": "+want)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, b, got, "left as it was")
	}
}

func TestEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	f, err := journal.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoFileExists(t, path)
	f, err = journal.Create(path)
	require.NoError(t, err)
	if runtime.GOOS != "js" && runtime.GOOS != "wasip1" {
		require.EqualError(t, journal.Busy(path), path+": another process is writing it")
		_, _, err = resume(path)
		require.EqualError(t, err, path+": another process is writing it")
	}
	f.Keep()
	require.NoError(t, f.Close())
	require.FileExists(t, path)
	f, err = journal.Replace(path)
	require.NoError(t, err)
	require.NoError(t, f.Append(fmt.Appendln(nil, "x")))
	f.Remove()
	require.NoFileExists(t, path)
}
