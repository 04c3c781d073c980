package mutate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// How many mutants in all; CI has a few seconds.
	countEnv     = "EPSBALL_MUTANTS"
	defaultCount = 6000

	// One mutant, as a failure names it: NAME/NUMBER. It is kept in the folder for
	// temporary files.
	oneEnv = "EPSBALL_MUTANT"

	overhead = 64 << 20         // bytes that a reader may take besides 1.2 times its arrays
	patience = 60 * time.Second // of one mutant, of a few kilobytes
)

// TestReaders damages valid files of every format and reads them. A reader may
// refuse a file, with an error of its own type, on one line, that names it, or
// return something valid. It may not panic, nor take more memory than 1.2 times
// what it returns and 64 MB, nor go on forever.
func TestReaders(t *testing.T) {
	count := defaultCount
	if testing.Short() {
		count /= 4
	}
	if v := os.Getenv(countEnv); v != "" {
		var err error
		count, err = strconv.Atoi(v)
		require.NoError(t, err, countEnv)
	}
	only, number, one := strings.Cut(os.Getenv(oneEnv), "/")
	all, shares := seeds(t), 0
	for _, s := range all {
		shares += s.share
	}
	for _, s := range all {
		if one && s.name != only {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			h := newHarness(t, s)
			_, err := s.read(h.dir)
			require.NoError(t, err, "the seed itself")
			if one {
				i, err := strconv.Atoi(number)
				require.NoError(t, err, oneEnv)
				path := filepath.Join(os.TempDir(), "mutant-"+s.name+"-"+number)
				require.NoError(t, os.WriteFile(path, h.mutant(i), 0o666))
				t.Logf("mutant %s", path)
				h.try(i)
				return
			}
			each := max(1, count*s.share/shares)
			for i := range each {
				h.try(i)
			}
			t.Logf("%d of %d mutants were read", h.read, each)
			if each >= 20 {
				require.Less(t, h.read, each, "no mutant was refused")
			}
		})
	}
}

// harness runs mutants of one seed.
type harness struct {
	t    *testing.T
	seed seed
	dir  string
	read int // mutants that were not refused
}

func newHarness(t *testing.T, s seed) *harness {
	h := &harness{t: t, seed: s, dir: t.TempDir()}
	for name, b := range s.files {
		h.write(name, b)
	}
	return h
}

func (h *harness) write(name string, b []byte) {
	path := filepath.Join(h.dir, filepath.FromSlash(name))
	require.NoError(h.t, os.MkdirAll(filepath.Dir(path), 0o777))
	_ = os.Remove(path) // some file systems write through a file that is overwritten
	require.NoError(h.t, os.WriteFile(path, b, 0o666))
}

// mutant makes mutant i, always the same.
func (h *harness) mutant(i int) []byte {
	hash := fnv.New64()
	fmt.Fprint(hash, h.seed.name)
	r := rand.New(rand.NewPCG(hash.Sum64(), uint64(i)))
	b := h.seed.files[h.seed.target]
	if n := len(h.seed.mend); n > 0 {
		if k := r.IntN(n + 1); k < n {
			if m := h.seed.mend[k](r, b); m != nil {
				return m
			}
		}
	}
	return damage(r, b)
}

func (h *harness) try(i int) {
	name := fmt.Sprintf("%s=%s/%d", oneEnv, h.seed.name, i)
	h.write(h.seed.target, h.mutant(i))
	dog := time.AfterFunc(patience, func() { panic(name + ": still reading after " + patience.String()) })
	defer dog.Stop()
	before := allocated()
	size, err := h.attempt(name)
	if most := size*6/5 + overhead; allocated()-before > uint64(most) {
		// All that was allocated is above the limit; what was held at a time counts.
		if peak, ok := peakOf(func() { _, _ = h.attempt(name) }); ok && peak > most {
			h.t.Errorf("%s: took %d MB for %d MB (%v)", name, peak>>20, size>>20, err)
		}
	}
	if err == nil {
		h.read++
		return
	}
	if !h.seed.known(err, h.dir) || strings.Contains(err.Error(), "\n") {
		h.t.Errorf("%s: got %T %q, want the reader's own error, on one line, that names the file", name, err, err)
	}
}

// TestPeakOf: the measure of the harness sees what is held.
func TestPeakOf(t *testing.T) {
	const size = 100 << 20
	n, ok := peakOf(func() {
		b := make([]byte, size)
		for i := 0; i < size; i += 4096 {
			b[i] = 1
		}
	})
	if !ok {
		t.Skip("this system does not tell the peak of a process")
	}
	require.InDelta(t, size, n, 10<<20)
	n, _ = peakOf(func() {})
	require.Less(t, n, int64(10<<20), "the peak before does not count")
}

// attempt reads what is there; a panic fails the test.
func (h *harness) attempt(name string) (size int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.t.Fatalf("%s: panic: %v\n%s", name, p, debug.Stack())
		}
	}()
	return h.seed.read(h.dir)
}

// allocated returns the bytes that the process has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// peakOf returns by how much the process grows while f runs, and whether this
// system says so.
func peakOf(f func()) (int64, bool) {
	const reset = "/proc/self/clear_refs" // "5" sets the peak to what is held now
	debug.FreeOSMemory()
	if err := os.WriteFile(reset, []byte("5"), 0); err != nil {
		return 0, false
	}
	before, err := peak()
	f()
	after, err2 := peak()
	return after - before, errors.Join(err, err2) == nil
}

func peak() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			return kb << 10, nil
		}
	}
	return 0, fs.ErrNotExist
}
