package machine

import (
	"fmt"
	"runtime"
)

// Pinner confines the whole process to as many CPUs as a measurement has threads,
// and Go's scheduler with it. The threads are not tied one to one: a goroutine
// locked to its thread wakes too slowly for a pass of a few microseconds.
//
// A Pinner changes the process: use one at a time, from one goroutine.
type Pinner struct {
	cpus  []int // those the process may use, one of each core first; nil: off
	procs int   // GOMAXPROCS before
	now   int   // threads in force, 0: none
}

// NewPinner returns a pinner, which is off where the system does not offer it
// (all but Linux).
func NewPinner(on bool) *Pinner {
	p := &Pinner{procs: runtime.GOMAXPROCS(0)}
	if !on {
		return p
	}
	if cpus := allowedCPUs(); len(cpus) > 0 && setCPUs(cpus) == nil {
		p.cpus = cpus
	}
	return p
}

// On reports whether the pinner does anything.
func (p *Pinner) On() bool { return p.cpus != nil }

// Use makes room for exactly so many threads.
func (p *Pinner) Use(threads int) {
	if !p.On() || p.now == threads {
		return
	}
	n := min(threads, len(p.cpus))
	_ = setCPUs(p.cpus[:n]) // has worked before
	runtime.GOMAXPROCS(n)
	p.now = threads
}

// Restore undoes Use.
func (p *Pinner) Restore() {
	if p.now != 0 {
		_ = setCPUs(p.cpus)
		runtime.GOMAXPROCS(p.procs)
		p.now = 0
	}
}

// String describes the pinner for the head of a report.
func (p *Pinner) String() string {
	if !p.On() {
		return "not pinned"
	}
	return fmt.Sprintf("pinned, t1 to CPU %d", p.cpus[0])
}
