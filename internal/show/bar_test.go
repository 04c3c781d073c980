package show

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBar(t *testing.T) {
	var w bytes.Buffer
	b := &Bar{w: &w}
	b.Show("apgd", 3, 10)
	assert.Contains(t, w.String(), "apgd  ")
	assert.Contains(t, w.String(), " 3/10")
	assert.NotContains(t, w.String(), "left")
	b.next, b.start = time.Time{}, b.start.Add(-10*time.Second)
	b.Show("apgd", 5, 10)
	assert.Contains(t, w.String(), " 5/10, 25s left")
	w.Reset()
	b.next = time.Time{}
	b.Show("pgd", 6, 10)
	assert.NotContains(t, w.String(), "left", "another pass")
	b.Clear()
	assert.Equal(t, "", left(time.Hour, 0, 10))
	assert.Equal(t, "", left(time.Hour, 10, 0))
	assert.Equal(t, ", 1h30m0s left", left(time.Hour, 2, 3))
}
