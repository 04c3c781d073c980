package machine

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
)

func TestPinner(t *testing.T) {
	procs, cpus := runtime.GOMAXPROCS(0), allowedCPUs()
	p := NewPinner(true)
	if !p.On() {
		t.Skip("this system does not pin")
	}
	p.Use(1)
	assert.Equal(t, cpus[:1], allowedCPUs())
	assert.Equal(t, 1, runtime.GOMAXPROCS(0))
	p.Restore()
	assert.Equal(t, cpus, allowedCPUs())
	assert.Equal(t, procs, runtime.GOMAXPROCS(0))

	off := NewPinner(false)
	off.Use(1)
	assert.Equal(t, procs, runtime.GOMAXPROCS(0))
	assert.Equal(t, "not pinned", off.String())
}

func TestUsage(t *testing.T) {
	before, after := Usage{100, 50, 10}, Usage{300, 200, 60}
	assert.Equal(t, 0.5, before.Others(after))
	assert.Zero(t, Usage{}.Others(Usage{}))
	assert.Zero(t, Usage{}.Others(Usage{10, 5, 6})) // our ticks may run ahead
	if total, busy := cpuTicks(); total > 0 {
		assert.Positive(t, busy)
		assert.Less(t, busy, total)
		start := time.Now()
		for processTicks(os.Getpid()) == 0 {
			require.Less(t, time.Since(start), 10*time.Second)
		}
		assert.Positive(t, UsageNow().ours)
		assert.Zero(t, processTicks(-1))
	}
}

func TestLimits(t *testing.T) {
	assert.NotEmpty(t, CPUName())
	isa, err := kernels.Choose("")
	require.NoError(t, err)
	m := NewPeakMeter(isa, 2, time.Millisecond)
	assert.Positive(t, m.Measure(2))
	m.Close()
	for _, threads := range []int{1, 2} {
		list := Levels(threads)
		assert.Len(t, list, len(Levels(1)))
		for i, l := range list[1:] {
			assert.Greater(t, l.Bytes, list[i].Bytes)
		}
		assert.Equal(t, "memory", list[len(list)-1].Name)
		assert.Positive(t, ReadGBps(isa, list[0].Bytes, threads, time.Millisecond))
	}
	if now, most := ResidentBytes(); runtime.GOOS == "linux" {
		assert.Positive(t, now)
		assert.GreaterOrEqual(t, most, now)
	}
}
