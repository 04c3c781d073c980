// Command simulate says how long a job of shards takes on many processors, some of which are slow
// or fail, by simulating it event by event: the tables of docs/scale.md.
//
//	go run ./internal/scale/simulate
package main

import (
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

func main() {
	images := flag.Int("images", 1_000_000, "number of images")
	seconds := flag.Float64("seconds", 1, "of an image, on a processor like most")
	processors := flag.Int("processors", 1000, "number of processors")
	cost := flag.Float64("cost", 0.3, "seconds of a shard besides its work")
	seed := flag.Uint64("seed", 1, "of what is drawn")
	flag.Parse()
	if *images < 1 || *processors < 1 || !(*seconds > 0) || !(*cost >= 0) {
		fmt.Fprintln(os.Stderr, "simulate: want at least one image and processor, seconds above 0, and a cost of at least 0")
		os.Exit(2)
	}
	base := job{Cost: *cost, Processors: *processors, Spread: 0.3, Block: 10, Down: 300, Seed: *seed}
	variants := []struct {
		name   string
		change func(*job)
	}{
		{"all alike", func(j *job) { j.Spread = 0 }},
		{"shards differ by 30 %", func(*job) {}},
		{"1 % of processors four times slower", func(j *job) { j.Slow, j.Slower = 0.01, 4 }},
		{"… and shards of these begun once more", func(j *job) { j.Slow, j.Slower, j.Twins = 0.01, 4, true }},
		{"each processor fails every two hours", func(j *job) { j.Life = 7200 }},
		{"a scheduler that starts 20 tasks a second", func(j *job) { j.Start = 0.05 }},
	}
	fmt.Printf("%d images of %v s on %d processors, %v s a shard besides: share of the processors' time that is work\n\n", *images, *seconds, *processors, *cost)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	sizes := []int{1, 4, 17, 60, 250, 1000}
	fmt.Fprint(w, "images a shard\t")
	for _, size := range sizes {
		fmt.Fprintf(w, "%d\t", size)
	}
	fmt.Fprint(w, "\nshards\t")
	for _, size := range sizes {
		fmt.Fprintf(w, "%d\t", (*images-1)/size+1)
	}
	fmt.Fprintln(w)
	start := time.Now()
	for _, v := range variants {
		fmt.Fprintf(w, "%s\t", v.name)
		for _, size := range sizes {
			j := base
			j.Shards, j.Work = (*images-1)/size+1, float64(size)**seconds
			v.change(&j)
			o := simulate(&j)
			fmt.Fprintf(w, "%.1f %%\t", 100*o.efficiency(&j))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to standard output
	fmt.Printf("\n%.0f s to simulate\n", time.Since(start).Seconds())
}
