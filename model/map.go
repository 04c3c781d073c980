package model

import (
	"fmt"
	"sync"
)

// Mapped is a model whose weights lie in a file that is mapped into memory, read-only
// and shared. Processes that map the same file share one copy, which the system drops
// and reads again as it likes.
//
// The file must not be changed in place or truncated while it is mapped. Reading a page
// that is gone ends the process (SIGBUS), and nobody has checked weights that were
// changed. Save and other writers that rename a new file over the old one do no harm.
type Mapped struct {
	Model *Model // see View

	once sync.Once
	data []byte
	free func() error // nil: data is memory like any other
}

// Map is Load without a copy of the weights. It reads every page once, to check the
// weights. Where the system cannot map files it reads the file as a whole.
func Map(path string) (*Mapped, error) {
	data, free, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	f := &Mapped{data: data, free: free}
	if f.Model, err = View(data, path); err != nil {
		_ = f.Close() // the error is about the file
		return nil, err
	}
	return f, nil
}

// Bytes returns the length of the mapping. That is address space; memory holds the part
// that was touched lately. It is 0 if the file was read instead.
func (f *Mapped) Bytes() int {
	if f.free == nil {
		return 0
	}
	return len(f.data)
}

// Close unmaps the file. Everything that uses the weights must have ended for good
// before: calls on the model, on networks compiled from it (net.Compile uses tiles in
// place, and packs the rest from the model on demand), and on attacks and verifiers
// made from those. A later use ends the process. A second Close does nothing.
func (f *Mapped) Close() (err error) {
	f.once.Do(func() {
		if f.free != nil {
			err = f.free()
		}
	})
	return err
}
