package recheck

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/epsball/epsball/report"
	certcheck "github.com/epsball/epsball/verify/check"
)

// Claims are compared field by field: 1/10 of label 77 is not 1/107 of label 7.
func TestClaims(t *testing.T) {
	a := claimOf(&certcheck.Certificate{Eps: "1/10", Label: 77})
	b := claimOf(&certcheck.Certificate{Eps: "1/107", Label: 7})
	assert.NotEqual(t, a, b)
	assert.Equal(t, a, claimOf(&certcheck.Certificate{Eps: "10e-2", Label: 77}))
	c := claimOf(&certcheck.Certificate{Eps: "1", Label: -1, Rows: [][]float64{{1, 2}, {3, 4}}, Offsets: []float64{5, 6}})
	d := claimOf(&certcheck.Certificate{Eps: "1", Label: -1, Rows: [][]float64{{1, 2, 5, 3}}, Offsets: []float64{4}})
	assert.NotEqual(t, c, d)
	r := &report.Check{}
	(&Run{}).tally(r, []lineResult{{state: lineValid, claim: a}, {state: lineValid, claim: b}, {state: lineValid, claim: a}})
	assert.Equal(t, []int{3, 2, 1, 1}, []int{r.Checked, r.Valid, r.Invalid, r.Images})
	tiny, _ := new(big.Rat).SetString("1e-40")
	assert.Equal(t, "1/1"+strings.Repeat("0", 40), epsOf(tiny))
}
