//go:build !linux

package machine

// Threads are pinned on Linux alone.

func allowedCPUs() []int { return nil }

func setCPUs([]int) error { return nil }
