package machine

import (
	"bytes"
	"os"
	"strconv"
)

// ResidentBytes returns the resident set of the process, now and the most so
// far; zeros if the system does not tell. (getrusage would include the parent's
// until exec.)
func ResidentBytes() (now, most int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	field := func(name string) int64 {
		_, rest, _ := bytes.Cut(b, []byte("\n"+name+":"))
		words := bytes.Fields(rest)
		if len(words) == 0 {
			return 0
		}
		kib, _ := strconv.ParseInt(string(words[0]), 10, 64)
		return kib << 10
	}
	return field("VmRSS"), field("VmHWM")
}
