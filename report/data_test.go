package report_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/report"
)

func TestData(t *testing.T) {
	e := report.Envelope{Epsball: report.Header{Command: "data", Version: "v1"}}
	r := &report.Data{Envelope: e, Sets: dataset.KnownSets()}
	again(t, r)
	assert.NotContains(t, r.Text(), "MD5")
	r.Sets = r.Sets[2:]
	again(t, r)
	assert.Regexp(t, `(?m)^classes +airplane, .*truck$`, r.Text())
	assert.Regexp(t, `(?m)^  SHA-256, first 100 images +440e5480f4f4a46030e496053a7f3d793d4bd5e284f762e076c2ee22afe98666$`, r.Text())

	c := &report.DataCheck{Envelope: e, Set: "mnist", Missing: 1, OK: 1, Files: []dataset.FileCheck{
		{File: "a", State: dataset.FileOK}, {File: "b", State: dataset.FileMissing, Detail: "why"},
	}}
	c.Data = "folder"
	again(t, c)
	assert.Equal(t, "a  ok\nb  missing: why\nfolder against mnist: 1 ok, 1 missing, 0 differ, 0 unknown; 0 s\n", c.Text())
}
