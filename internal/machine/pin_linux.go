package machine

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// allowedCPUs lists the CPUs of the process: one hardware thread of each core
// first, then the others.
func allowedCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var first, rest []int
	seen := map[string]bool{}
	for cpu := range len(set) * 64 {
		if !set.IsSet(cpu) {
			continue
		}
		core, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		if err == nil && seen[string(core)] {
			rest = append(rest, cpu)
			continue
		}
		seen[string(core)] = true
		first = append(first, cpu)
	}
	return append(first, rest...)
}

// setCPUs confines all threads of the process, and those they will start.
func setCPUs(cpus []int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	var done []string
	for { // until no thread has appeared meanwhile
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		before := len(done)
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || slices.Contains(done, t.Name()) {
				continue
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH { // it may have ended
				return err
			}
			done = append(done, t.Name())
		}
		if len(done) == before {
			return nil
		}
	}
}
