package main

import (
	"fmt"
	"runtime"
)

// pinner confines the whole process to as many CPUs as a row has threads, and
// Go's scheduler with it. The threads are not tied one to one: a goroutine
// locked to its thread wakes too slowly for a pass of a few microseconds.
type pinner struct {
	cpus  []int // those the process may use, one of each core first; nil: off
	procs int   // GOMAXPROCS before
	now   int   // threads in force, 0: none
}

// newPinner returns a pinner that is off where the system does not offer it.
func newPinner(on bool) *pinner {
	p := &pinner{procs: runtime.GOMAXPROCS(0)}
	if !on {
		return p
	}
	if cpus := allowedCPUs(); len(cpus) > 0 && setCPUs(cpus) == nil {
		p.cpus = cpus
	}
	return p
}

func (p *pinner) on() bool { return p.cpus != nil }

// use makes room for exactly so many threads.
func (p *pinner) use(threads int) {
	if !p.on() || p.now == threads {
		return
	}
	n := min(threads, len(p.cpus))
	_ = setCPUs(p.cpus[:n]) // has worked before
	runtime.GOMAXPROCS(n)
	p.now = threads
}

// restore undoes use.
func (p *pinner) restore() {
	if p.now != 0 {
		_ = setCPUs(p.cpus)
		runtime.GOMAXPROCS(p.procs)
		p.now = 0
	}
}

func (p *pinner) String() string {
	if !p.on() {
		return "not pinned"
	}
	return fmt.Sprintf("pinned, t1 to CPU %d", p.cpus[0])
}
