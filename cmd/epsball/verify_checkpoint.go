package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/verify/branch"
)

// saveEvery is how often verify writes its checkpoint; a variable for tests.
var saveEvery = time.Minute

// keep makes a decision write its checkpoint, and go on from it with --resume. A failure to
// write is kept in f.
func (f *verifyFlags) keep(o *audit.DecideOptions, of checkpoint.Of) error {
	if f.checkpoint.Path == "" {
		return nil
	}
	if f.resume {
		st, err := checkpoint.Read(f.checkpoint.Path, of)
		if err != nil {
			return err
		}
		o.Resume = st
	}
	o.Branch.SaveEvery = saveEvery
	o.Save = func(st *audit.DecideState) error {
		f.failed = checkpoint.Write(f.checkpoint.Path, of, st)
		f.checkpoint.Written = f.failed == nil
		return f.failed
	}
	return nil
}

// blame returns the error of a decision with what is to blame for it.
func (f *verifyFlags) blame(err error, network string) error {
	var bad *branch.StateError
	switch {
	case f.failed != nil:
		return f.failed
	case errors.As(err, &bad):
		return fmt.Errorf("checkpoint %s: %w", f.checkpoint.Path, bad)
	}
	return fmt.Errorf("model %s: %w", network, err)
}

// dropCheckpoint removes the checkpoint once it is of no use.
func (f *verifyFlags) dropCheckpoint() error {
	if f.checkpoint.Path == "" || !f.checkpoint.Written && !f.resume {
		return nil
	}
	if err := os.Remove(f.checkpoint.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.checkpoint.Written = false
	return nil
}

// goOn says how to go on with what was not decided, if that can be.
func (f *verifyFlags) goOn() string {
	if !f.checkpoint.Written {
		return ""
	}
	return fmt.Sprintf("; the same command with --resume goes on from %s", f.checkpoint.Path)
}

// leastMemory is the smallest --memory: that of the parts of a round is not below it.
const leastMemory = 1 << 20

// parseMemory reads a number of bytes such as 512M; 0 and nothing: no limit.
func parseMemory(text string) (int, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	digits, unit := text, 1
	if i := strings.IndexByte("KMGT", text[len(text)-1]); i >= 0 {
		digits, unit = text[:len(text)-1], 1<<(10*(i+1))
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt/uint64(unit) || int(n)*unit < leastMemory {
		return 0, fmt.Errorf("--memory: got %.30q, want at least 1M: bytes, or a whole number with K, M, G or T, as 512M; 0: no limit", text)
	}
	return int(n) * unit, nil
}
