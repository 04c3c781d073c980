package filelock

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func skipWithoutLocks(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no file locks")
	}
}

// TestMain also is another process, which locks a file until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("EPSBALL_TEST_LOCK"); path != "" {
		if _, err := Open(path, os.O_CREATE); err != nil {
			os.Exit(2)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		select {}
	}
	os.Exit(m.Run())
}

// TestKilled: a lock ends with the process that holds it.
func TestKilled(t *testing.T) {
	skipWithoutLocks(t)
	path := filepath.Join(t.TempDir(), "f")
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "EPSBALL_TEST_LOCK="+path)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)
	_, err = Open(path, 0)
	require.ErrorIs(t, err, ErrLocked)
	require.EqualError(t, err, path+": another process is writing it")

	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	f, err := Open(path, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestReserve(t *testing.T) {
	skipWithoutLocks(t)
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path+".lock", nil, 0o666)) // left by a killed process
	r, err := Reserve(path)
	require.NoError(t, err)
	_, err = Reserve(path)
	require.ErrorIs(t, err, ErrLocked)
	require.EqualError(t, err, path+": another process is writing it")
	r.Release()
	require.NoFileExists(t, path+".lock")
	_, err = Reserve(filepath.Join(path, "no", "folder"))
	require.Error(t, err)

	// A file that only has the name of a lock is not removed.
	require.NoError(t, os.WriteFile(path+".lock", []byte("poetry"), 0o666))
	_, err = Reserve(path)
	require.ErrorContains(t, err, path+".lock")
	require.FileExists(t, path+".lock")
}

// TestReserveOne: of many at a time, one has the reservation, although each
// removes the file that the next one may have opened.
func TestReserveOne(t *testing.T) {
	skipWithoutLocks(t)
	if runtime.GOOS == "windows" {
		t.Skip("a file that is being removed cannot be opened")
	}
	path := filepath.Join(t.TempDir(), "f")
	var holders, got atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				r, err := Reserve(path)
				if err != nil {
					continue
				}
				got.Add(1)
				if holders.Add(1) != 1 {
					t.Error("two at a time")
				}
				holders.Add(-1)
				r.Release()
			}
		})
	}
	wg.Wait()
	require.Positive(t, got.Load())
}
