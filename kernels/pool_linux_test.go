package kernels

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPoolOnKeepsThreads: the tasks of a helper run on the thread start ran on, which
// runs nobody else's.
func TestPoolOnKeepsThreads(t *testing.T) {
	const workers = 3
	started := make(chan int, workers)
	p := NewPoolOn(workers, func() { started <- syscall.Gettid() })
	defer p.Close()
	own := map[int]bool{<-started: true, <-started: true}
	require.Len(t, own, workers-1)
	var first [workers]int
	for range 20 {
		p.Run(workers, meet(workers, func(worker, _ int) {
			switch id := syscall.Gettid(); {
			case worker == 0:
				assert.NotContains(t, own, id)
			case first[worker] == 0:
				assert.Contains(t, own, id)
				first[worker] = id
			default:
				assert.Equal(t, first[worker], id)
			}
		}))
	}
}
