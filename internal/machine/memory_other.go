//go:build !linux && !darwin

package machine

// ResidentBytes: this system is not asked.
func ResidentBytes() (now, most int64) { return 0, 0 }
