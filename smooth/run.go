package smooth

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// chunk is the number of samples that a worker takes through a network at a time.
func chunk(base attack.Target) int { return base.ISA().TileGroups() * kernels.Lanes }

// atOnce is how many chunks of one image a round has at most.
const atOnce = 64

// worker computes votes on a goroutine of the pool.
type worker struct {
	passes attack.Passes
	x      []float32 // a chunk of samples
	z      []float32 // logits of one
	noise  filler
}

func newWorker(base attack.Target, pool *kernels.Pool) (*worker, error) {
	w := &worker{passes: base.Passes(chunk(base), pool), z: make([]float32, base.Classes()), noise: filler{isa: base.ISA()}}
	if _, random := w.passes.(attack.Randomised); random {
		return nil, errors.New("network: draws random numbers itself, want a classifier that says the same of the same image")
	}
	if w.passes.Layout() != net.LaneGroups {
		return nil, errors.New("network: its passes run image by image, want large batches")
	}
	w.x = kernels.Alloc(chunk(base) * base.Input().Size())
	return w, nil
}

// job is an image under way.
type job struct {
	at     int // position in the batch
	source source
	levels []int32 // [H][W][C]
	drawn  int     // samples
	want   int     // to have drawn after the round
	votes  []int   // of this phase, one a class, and one for none
	phase  phase
	class  int // picked
	tasks  int // of the round
}

type phase int

const (
	picking phase = iota
	counting
	finished
)

// counted is the number of samples of the phase of counting.
func (j *job) counted(o *Options) int { return j.drawn - o.Select }

// task is a chunk of samples of a job.
type task struct {
	job          *job
	first, count int
}

// Batch is images to look at.
type Batch struct {
	X     []float32 // images one after the other, channels first, pixels float32(k)/255
	Index []int     // of each image in its data set, which picks its noise; nil: First, First+1, …
	First int
}

func (b *Batch) index(i int) uint64 {
	if b.Index != nil {
		return uint64(b.Index[i])
	}
	return uint64(b.First + i)
}

// decide looks at the votes that a job has so far. It says what to draw next, or fills in
// the result and ends the job.
type decide func(j *job, r *Result)

// all runs the images of b. Results do not depend on the pool, nor on which other images
// there are. When ctx ends, those that were not finished have Samples 0.
func (s *Smoother) all(ctx context.Context, b Batch, d decide, start func(j *job)) ([]Result, error) {
	size := s.base.Input().Size()
	n := len(b.X) / size
	if err := s.Check(b); err != nil {
		return nil, err
	}
	results := make([]Result, n)
	var spare, jobs []*job
	next, done := 0, 0
	for next < n || len(jobs) > 0 {
		s.tasks = s.tasks[:0]
		for _, j := range jobs {
			s.plan(j)
		}
		for next < n && len(s.tasks) < 16*len(s.workers) {
			var j *job
			if k := len(spare); k > 0 {
				j, spare = spare[k-1], spare[:k-1]
			} else {
				j = &job{levels: make([]int32, size), votes: make([]int, s.base.Classes()+1)}
			}
			if err := s.open(j, b, next, start); err != nil {
				return nil, err
			}
			jobs = append(jobs, j)
			s.plan(j)
			next++
		}
		if err := s.round(ctx); err != nil {
			return results, err
		}
		going := jobs[:0]
		for _, j := range jobs {
			d(j, &results[j.at])
			if j.phase != finished {
				going = append(going, j)
				continue
			}
			spare = append(spare, j)
			done++
			if s.o.Finished != nil {
				if err := s.o.Finished(j.at, &results[j.at]); err != nil {
					return results, err
				}
			}
		}
		jobs = going
		if s.o.Progress != nil {
			s.o.Progress(done, n)
		}
	}
	return results, ctx.Err()
}

// Check refuses images that nothing can be said of, as Certify and Predict do before they draw
// anything: those of another size, or not of 8 bits.
func (s *Smoother) Check(b Batch) error {
	size := s.base.Input().Size()
	n := len(b.X) / size
	if err := s.base.CheckImages(b.X, n); err != nil {
		return err
	}
	if b.Index != nil && len(b.Index) != n {
		return fmt.Errorf("index: %d, want one for each of %d images", len(b.Index), n)
	}
	levels := make([]int32, size)
	for i := range n {
		if err := ToLevels(levels, b.X[i*size:(i+1)*size]); err != nil {
			return fmt.Errorf("images: image %d: %w", b.index(i), err)
		}
	}
	return nil
}

// open makes j the job of image i.
func (s *Smoother) open(j *job, b Batch, i int, start func(j *job)) error {
	in := s.base.Input()
	size, hw := in.Size(), in.H*in.W
	flat := make([]int32, size)
	if err := ToLevels(flat, b.X[i*size:(i+1)*size]); err != nil {
		return err
	}
	for c := range in.C {
		for p, v := range flat[c*hw : (c+1)*hw] {
			j.levels[p*in.C+c] = v
		}
	}
	*j = job{at: i, source: source{s.o.Seed, b.index(i)}, levels: j.levels, votes: j.votes, class: Abstain}
	clear(j.votes)
	start(j)
	return nil
}

// plan adds the chunks of the next round of j to the tasks.
func (s *Smoother) plan(j *job) {
	j.tasks = 0
	size := chunk(s.base)
	for at := j.drawn; at < j.want && j.tasks < atOnce; at += size {
		s.tasks = append(s.tasks, task{j, at, min(size, j.want-at)})
		j.tasks++
	}
}

// round runs the tasks and counts their votes.
func (s *Smoother) round(ctx context.Context) error {
	classes := s.base.Classes()
	if need := len(s.tasks) * (classes + 1); cap(s.votes) < need {
		s.votes = make([]int32, need)
	}
	s.votes = s.votes[:len(s.tasks)*(classes+1)]
	clear(s.votes)
	s.pool.Run(len(s.tasks), func(w, t int) {
		if ctx.Err() == nil {
			s.run(w, t)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, t := range s.tasks {
		for c, v := range s.votes[i*(classes+1) : (i+1)*(classes+1)] {
			t.job.votes[c] += int(v)
		}
		t.job.drawn += t.count
	}
	return nil
}

// sample draws the samples of task t and counts what the network says of them.
func (s *Smoother) sample(worker, t int) {
	w, k := s.workers[worker], s.tasks[t]
	size, classes := s.base.Input().Size(), s.base.Classes()
	groups := kernels.Groups(k.count)
	for g := range groups {
		first := g * kernels.Lanes
		s.noise.fill(&w.noise, net.Group(w.x, size, g), k.job.levels, k.job.source, uint32(k.first+first), min(kernels.Lanes, k.count-first))
	}
	z := w.passes.Forward(w.x, groups)
	votes := s.votes[t*(classes+1):][:classes+1]
	for i := range k.count {
		net.LaneGroups.Gather(w.z, z, i)
		c := net.Argmax(w.z)
		if c < 0 {
			c = classes
		}
		votes[c]++
	}
}

// most returns the class with most votes, the first of equals, and the runner-up.
func most(votes []int) (first, second int) {
	first, second = 0, 1
	if votes[1] > votes[0] {
		first, second = 1, 0
	}
	for c := 2; c < len(votes); c++ {
		switch {
		case votes[c] > votes[first]:
			first, second = c, first
		case votes[c] > votes[second]:
			second = c
		}
	}
	return first, second
}

// finish ends a job with what it has counted.
func (j *job) finish(r *Result, samples int) {
	classes := len(j.votes) - 1
	*r = Result{Class: Abstain, Votes: append([]int(nil), j.votes[:classes]...), Samples: samples, Drawn: j.drawn}
	j.phase = finished
}

// alphaLeft is what is left of α for samples whose law differs from the exact one.
func alphaLeft(alpha, distance float64, samples int) float64 {
	return math.Nextafter(alpha-distance*float64(samples)*(1+0x1p-40), -1)
}
