package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAlike: where nothing is drawn, the time follows.
func TestAlike(t *testing.T) {
	for _, c := range []struct {
		shards, processors int
		start, want        float64
	}{
		{100, 10, 0, 10 * 30.5},
		{101, 10, 0, 11 * 30.5},
		{3, 10, 0, 30.5},
		{1, 1, 2, 32.5},
		{1000, 1000, 1, 1000 + 30.5}, // the scheduler is what takes time
	} {
		j := job{Shards: c.shards, Work: 30, Cost: 0.5, Processors: c.processors, Start: c.start}
		o := simulate(&j)
		require.InDelta(t, c.want, o.Makespan, 1e-6)
		require.InDelta(t, 30*float64(c.shards), o.Work, 1e-6)
	}
}

// TestFormula: with shards that differ, the time is near that of docs/scale.md.
func TestFormula(t *testing.T) {
	for _, work := range []float64{5, 17, 60} {
		j := job{Shards: int(200_000 / work), Work: work, Spread: 0.3, Cost: 0.3, Processors: 200, Seed: 1}
		o := simulate(&j)
		want := o.Work/200*(1+j.Cost/work) + work
		require.InEpsilon(t, want, o.Makespan, 0.06)
		require.Less(t, o.Tail, 4*work)
		require.Equal(t, o, simulate(&j), "the seed says all")
	}
}

// TestFailures: work that failures cut off is done all the same, and costs what it must.
func TestFailures(t *testing.T) {
	j := job{Shards: 5000, Work: 60, Spread: 0.3, Cost: 0.3, Processors: 100, Life: 1800, Down: 60, Block: 10, Seed: 2}
	o := simulate(&j)
	calm := j
	calm.Life = 0
	was := simulate(&calm)
	require.InEpsilon(t, o.Work/1800, o.Failures, 0.15)
	lost := float64(o.Failures) * (60 + 5 + 0.3) / 100 // down, half a block, and one more start
	require.InEpsilon(t, was.Makespan+lost, o.Makespan, 0.05)
	j.Block = math.Inf(1) // without a journal
	require.Greater(t, simulate(&j).Makespan, o.Makespan*1.005)
}

// TestStragglers: a slow processor's last shard is what the others wait for; begun once more, they
// need not.
func TestStragglers(t *testing.T) {
	j := job{Shards: 2000, Work: 100, Spread: 0.1, Processors: 100, Slow: 0.03, Slower: 10, Seed: 3}
	alone := simulate(&j)
	require.Greater(t, alone.Tail, 5*j.Work)
	j.Twins = true
	twins := simulate(&j)
	require.Positive(t, twins.Twins)
	require.Less(t, twins.Makespan, alone.Makespan-4*j.Work)
	j.Slow, j.Twins = 0, false
	require.Less(t, simulate(&j).Makespan, twins.Makespan)
}

// TestMillion: the largest job, in which some processors fail and some are slow, ends.
func TestMillion(t *testing.T) {
	j := job{Shards: 1_000_000, Work: 30, Spread: 0.3, Cost: 0.3, Processors: 10_000, Slow: 0.01, Slower: 4, Life: 1e5, Down: 300, Block: 10, Twins: true, Seed: 4}
	o := simulate(&j)
	require.Greater(t, o.efficiency(&j), 0.9)
	require.Greater(t, o.Failures, 100)
}
