// Command linear shows why small changes of many pixels fool even a linear classifier.
//
// It trains softmax regression on MNIST at 7×7, 14×14 and 28×28 pixels. A change of at
// most ε a pixel lowers the label's lead over another class, w·x + b, by at most ε·‖w‖₁,
// and the change −ε·sign(w) does (Goodfellow et al. 2015, section 3). Random changes of
// the same size move it by about ε·‖w‖₂/√3, and ‖w‖₁ is up to √d times as long as ‖w‖₂
// for d pixels.
//
//	go run ./examples/learn/linear
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"text/tabwriter"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/train"
)

func main() {
	data := flag.String("data", "testdata/mnist#train", "training data, 1×28×28")
	n := flag.Int("n", 20000, "number of training images")
	eps := flag.Float64("eps", 0.1, "radius of the Linf ball")
	flag.Parse()
	log.SetFlags(0)
	if err := study(os.Stdout, *data, *n, *eps); err != nil {
		log.Fatal(err)
	}
}

// study prints a row for each resolution.
func study(out io.Writer, data string, n int, eps float64) error {
	training, err := dataset.LoadWith(data, dataset.Options{N: n})
	if err != nil {
		return err
	}
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "pixels\tlead\tε·‖w‖₂/√3\tε·‖w‖₁\tclean\tnoise\tattacked\tproved\t")
	for _, block := range []int{4, 2, 1} {
		r, err := resolution(shrink(training, block), shrink(test, block), eps)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d\t%.2f\t%.2f\t%.2f\t%.1f%%\t%.1f%%\t%.1f%%\t%.1f%%\t\n",
			r.pixels, r.lead, r.noise, r.worst, r.clean, r.noisy, r.attacked, r.proved)
	}
	return w.Flush()
}

// row is what holds at a resolution: means over the images classified correctly of the
// label's lead and of what changes do to it, and accuracies in percent.
type row struct {
	pixels                         int
	lead, noise, worst             float64
	clean, noisy, attacked, proved float64
}

func resolution(training, test *dataset.Set, eps float64) (row, error) {
	ctx := context.Background()
	file, err := fit(training)
	if err != nil {
		return row{}, err
	}
	m, err := epsball.New(file)
	if err != nil {
		return row{}, err
	}
	defer m.Close()
	x, ball := epsball.Batch{X: test.X, Y: test.Y}, epsball.Linf(eps)
	pred, err := m.Classify(ctx, x)
	if err != nil {
		return row{}, err
	}
	r := row{pixels: test.H * test.W}
	weights := file.Params[0].Rows() // 10 rows, one a class
	correct := 0
	for i, y := range test.Y {
		if pred.Label[i] != y {
			continue
		}
		correct++
		logits := pred.Logits[10*i : 10*(i+1)]
		j := runnerUp(logits, y)
		l1, l2 := norms(weights[y*r.pixels:(y+1)*r.pixels], weights[j*r.pixels:(j+1)*r.pixels])
		r.lead += float64(logits[y] - logits[j])
		r.noise += eps * l2 / math.Sqrt(3)
		r.worst += eps * l1
	}
	for _, sum := range []*float64{&r.lead, &r.noise, &r.worst} {
		*sum /= float64(correct)
	}
	r.clean = 100 * float64(correct) / float64(len(test.Y))

	// For a linear model one step towards each other class is the strongest attack, and
	// interval bounds are exact: nothing lies between the two but rounding.
	step := epsball.PGD{Steps: 1, FixedStart: true, Targeted: true, Restarts: 9, Loss: net.Margin}
	for how, share := range map[epsball.Method]*float64{epsball.Noise{Draws: 1, Seed: 1}: &r.noisy, step: &r.attacked} {
		adv, err := m.Attack(ctx, x, ball, how)
		if err != nil {
			return row{}, err
		}
		t := adv.Tally()
		*share = 100 * float64(t.Robust) / float64(len(test.Y))
	}
	cert, err := m.Certify(ctx, x, ball, epsball.IBP)
	if err != nil {
		return row{}, err
	}
	for _, ok := range cert.Robust {
		if ok {
			r.proved += 100 / float64(len(test.Y))
		}
	}
	return r, nil
}

// fit trains logits W·x + b by cross-entropy.
func fit(training *dataset.Set) (*model.Model, error) {
	start, err := model.Random(&model.Architecture{
		Name: "linear", Input: model.Shape{C: 1, H: training.H, W: training.W},
		Layers: []model.Layer{{Kind: model.FC, Out: 10}},
	}, 1)
	if err != nil {
		return nil, err
	}
	c := train.DefaultConfig(train.Standard)
	c.LR = 0.003
	t, err := train.New(start, training, c)
	if err != nil {
		return nil, err
	}
	m, _, err := t.Run(context.Background())
	return m, err
}

// runnerUp is the class with the largest logit but y.
func runnerUp(logits []float32, y int) int {
	best := -1
	for j, z := range logits {
		if j != y && (best < 0 || z > logits[best]) {
			best = j
		}
	}
	return best
}

// norms returns ‖a − b‖₁ and ‖a − b‖₂.
func norms(a, b []float32) (l1, l2 float64) {
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		l1 += math.Abs(d)
		l2 += float64(d * d)
	}
	return l1, math.Sqrt(l2)
}

// shrink replaces blocks of block×block pixels by their means.
func shrink(s *dataset.Set, block int) *dataset.Set {
	t := *s
	t.H, t.W = s.H/block, s.W/block
	t.X = make([]float32, 0, s.Len()*t.H*t.W)
	for i := range s.Len() {
		img := s.Image(i)
		for y := range t.H {
			for x := range t.W {
				sum := float32(0)
				for k := range block * block {
					sum += img[(y*block+k/block)*s.W+x*block+k%block]
				}
				t.X = append(t.X, sum/float32(block*block))
			}
		}
	}
	return &t
}
