package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// cpuTicks returns the clock ticks of all CPUs since the system started, and
// those in which they were not idle; zeros if the system does not tell.
func cpuTicks() (total, busy int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	const idle, iowait, last = 4, 5, 8 // user, nice, system, idle, iowait, irq, softirq, steal
	for i := 1; i <= last && i < len(fields); i++ {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		total += n
		if i != idle && i != iowait {
			busy += n
		}
	}
	return total, busy
}

// processTicks returns the ticks that a process has used.
func processTicks(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name may have blanks
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseInt(string(fields[user]), 10, 64)
	s, _ := strconv.ParseInt(string(fields[system]), 10, 64)
	return u + s
}
