package report_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/train"
)

// TestStudent: between the two ends of a confidence interval lies 95 % of Student's t, by
// integration of its density.
func TestStudent(t *testing.T) {
	for n := 2; n <= report.MaxSeeds; n++ {
		figures := make([]*float64, n)
		for i := range figures {
			v := float64(i % 2)
			figures[i] = &v
		}
		e := report.NewEstimate(figures)
		mean := float64(n/2) / float64(n)
		assert.InDelta(t, mean, e.Mean, 1e-15)
		deviation := math.Sqrt(mean * (1 - mean) * float64(n) / float64(n-1))
		assert.InDelta(t, deviation, *e.Deviation, 1e-12)
		quantile := *e.HalfWidth * math.Sqrt(float64(n)) / deviation
		k := float64(n - 1)
		up, _ := math.Lgamma((k + 1) / 2)
		down, _ := math.Lgamma(k / 2)
		density := func(x float64) float64 {
			return math.Exp(up-down) / math.Sqrt(k*math.Pi) * math.Pow(1+x*x/k, -(k+1)/2)
		}
		const parts = 4000
		h, sum := quantile/parts, density(0)+density(quantile)
		for i := 1; i < parts; i++ {
			sum += density(float64(i)*h) * float64(2+2*(i%2))
		}
		assert.InDelta(t, 0.95, 2*sum*h/3, 1e-6, "%d models", n)
	}
	one := 0.5
	e := report.NewEstimate([]*float64{&one})
	assert.Equal(t, 0.5, e.Mean)
	assert.Nil(t, e.HalfWidth)
	assert.Nil(t, report.NewEstimate(nil))
	assert.Nil(t, report.NewEstimate([]*float64{&one, nil}))
	assert.Nil(t, report.NewEstimate(make([]*float64, report.MaxSeeds+1)))
}

func TestTrainSeedsText(t *testing.T) {
	a, b := 0.98, 0.96
	r := &report.TrainSeeds{
		Envelope: report.Envelope{Epsball: report.Header{Command: "train", Version: "v1"}}, Norm: "l2", EpsExact: "0.1", TestData: "d", TestN: 100, TestSteps: 40,
		Models: []report.SeedModel{{Seed: 1, Out: "m-seed1", Clean: &a, PGD: &a, Certified: &b}, {Seed: 2, Out: "m-seed2", Clean: &b, PGD: &a, Certified: &a}},
	}
	r.Estimate()
	again(t, r)
	assert.Contains(t, r.Text(), "97.00% ± 12.71%")
	assert.Contains(t, r.Text(), "98.00% ± 0.00%")
	assert.Contains(t, r.Text(), "100 images of d, l2 ε = 0.1")
	r.Models[1].Clean, r.Models[1].PGD, r.Models[1].Certified = nil, nil, nil
	r.Estimate()
	again(t, r)
	assert.NotContains(t, r.Text(), "±")
}

func TestHistory(t *testing.T) {
	var epochs []report.Epoch
	for i := 1; i <= 3; i++ {
		epochs = append(epochs, report.Epoch{
			Epoch: i, Loss: 1 / (3 * float64(i)), Clean: 0.123456, Kappa: 1, LR: 1e-5, Seconds: 2,
			Validation: &train.Validation{Images: 30, Clean: 2. / 3},
		})
	}
	h := report.NewHistory(epochs)
	assert.Equal(t, `{"epoch":[1,2,3],"loss":[0.3333,0.1667,0.1111],"clean":[0.1235,0.1235,0.1235],"kappa":[1,1,1],"lr":[0.00001,0.00001,0.00001],"validation":{"images":30,"clean":[0.6667,0.6667,0.6667]}}`, h.String())
	back, err := report.ParseHistory(h.String())
	require.NoError(t, err)
	assert.Equal(t, h.String(), back.String())
	assert.Equal(t, report.Figure(0.6667), back.Validated.Clean[2])
	for _, bad := range []string{"", "[]", `{"epoch":[1],"loss":[1,2]}`, `{"epoch":[1],"validation":{"pgd":[]}}`} {
		_, err := report.ParseHistory(bad)
		assert.ErrorContains(t, err, "card: history: ", bad)
	}

	// Long ones are thinned out, and keep the last epoch.
	epochs = nil
	for i := 1; i <= 1999; i++ {
		epochs = append(epochs, report.Epoch{Epoch: i, Loss: float64(i)})
	}
	h = report.NewHistory(epochs)
	assert.Len(t, h.Epoch, 500)
	assert.Equal(t, 1999, h.Epoch[499])
	assert.Equal(t, []string{"3", "7"}, []string{fmt.Sprint(h.Epoch[0]), fmt.Sprint(h.Epoch[1])})
	assert.Empty(t, report.NewHistory(nil).Epoch)
}
