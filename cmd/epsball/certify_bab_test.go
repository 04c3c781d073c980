package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCertifyBaB: each image is certified, attacked or open, at least those that crown proves
// are certified, and none that an attack fools.
func TestCertifyBaB(t *testing.T) {
	f := newFiles(t)
	common := args("--model %s --data %s", f.model, f.data)
	crown := document(t, 0, append(args("certify --method crown --eps 0.03"), common...)...)
	doc := document(t, 0, append(args("certify --method bab --eps 0.03 --timeout 20"), common...)...)
	attacked := document(t, 0, append(args("attack --attack auto --eps 0.03"), common...)...)
	count := map[any]float64{}
	outcomes := doc["outcomes"].([]any)
	assert.Len(t, outcomes, f.n)
	for i, o := range outcomes {
		count[o]++
		if i%10 == 3 {
			assert.Equal(t, "attacked", o, "an image that is misclassified")
		}
	}
	for key, name := range map[string]string{"certified": "certified", "attacked": "attacked", "open": "open"} {
		assert.InDelta(t, count[name]/float64(f.n), doc[key], 1e-9)
	}
	assert.Zero(t, doc["open"], "the network is small")
	assert.Greater(t, doc["certified"], crown["certified"])
	assert.Equal(t, attacked["robust"], doc["certified"], "auto finds all that there is")
	assert.Positive(t, doc["decided_by"].(map[string]any)["bab"])
	assert.Equal(t, 20.0, doc["timeout"])
	assert.NotContains(t, crown, "outcomes")

	text := run(append(args("certify --method bab --eps 0.03 --timeout 20"), common...)...)
	assert.Zero(t, text.code, text.stderr)
	assert.Contains(t, text.stdout, "not certified")
	assert.Contains(t, text.stdout, "0.00% open")
	assert.Regexp(t, `decided by .*bab [1-9]`, text.stdout)

	// No time at all: what bounds and the attack leave is open, and named.
	short := run(append(args("certify --method bab --eps 0.03 --timeout 1e-9"), common...)...)
	assert.Zero(t, short.code, short.stderr)
	assert.Regexp(t, `[1-9][0-9.]*% open: images [0-9]`, short.stdout)
}

// TestCertifyBaBOut: certificates of all proofs, which check proves anew; a run that was cut off
// goes on, and a tree that was changed is refused.
func TestCertifyBaBOut(t *testing.T) {
	f := newFiles(t)
	out := filepath.Join(f.dir, "bab.jsonl")
	certify := args("certify --method bab --eps 0.03 --timeout 60 --n 40 --model %s --data %s --out %s", f.model, f.data, out)
	doc := document(t, 0, certify...)
	bab := doc["decided_by"].(map[string]any)["bab"]
	assert.Positive(t, bab)
	proved := math.Round(doc["certified"].(float64) * 40)
	check := args("check %s --model %s --data %s", out, f.model, f.data)
	checked := document(t, 0, check...)
	assert.Equal(t, proved, checked["valid"])
	assert.Zero(t, checked["invalid"])

	whole := readFile(t, out)
	cut := bytes.LastIndex(whole[:len(whole)-1], []byte("\n"))
	require.NoError(t, os.WriteFile(out, whole[:cut/2], 0o666))
	again := document(t, 0, append(certify, "--resume")...)
	assert.Equal(t, doc["outcomes"], again["outcomes"])
	assert.Equal(t, whole, readFile(t, out), "the same lines")

	// Another slope, multiplier or point.
	step := regexp.MustCompile(`"(alpha|point|beta)":"(u8|f32):[A-Za-z0-9+/]{8}`).FindIndex(whole)
	if assert.NotNil(t, step, "some proof states numbers") {
		damaged := slices.Clone(whole)
		damaged[step[1]-2] ^= 1
		require.NoError(t, os.WriteFile(out, damaged, 0o666))
		r := run(check...)
		assert.NotZero(t, r.code, "a line that was changed and not sealed anew")
	}

	radii := filepath.Join(f.dir, "radii.jsonl")
	doc = document(t, 0, args("certify --method bab --radius --resolution 1/2000 --max-radius 1/10 --n 8 --timeout 60 --model %s --data %s --out %s",
		f.model, f.data, radii)...)
	checked = document(t, 0, args("check %s --model %s --data %s", radii, f.model, f.data)...)
	assert.Zero(t, checked["invalid"])
	assert.Positive(t, checked["valid"])
	assert.Less(t, doc["gap"].(map[string]any)["after"], doc["gap"].(map[string]any)["before"])
}

// TestCertifyBaBRadius: brackets close.
func TestCertifyBaBRadius(t *testing.T) {
	f := newFiles(t)
	radius := args("certify --radius --resolution 1/2000 --max-radius 1/10 --n 12 --model %s --data %s", f.model, f.data)
	doc := document(t, 0, append(radius, args("--method bab --timeout 20")...)...)
	gap := doc["gap"].(map[string]any)
	assert.Positive(t, gap["images"])
	assert.Less(t, gap["after"], gap["before"])
	assert.InDelta(t, 0.0005, gap["after"], 0.001, "hardly a radius is open")
	crown := document(t, 0, append(radius, args("--method crown")...)...)
	assert.Greater(t, doc["mean_radius"], crown["mean_radius"])
	assert.NotContains(t, crown, "gap")
	text := run(append(radius, args("--method bab --timeout 20")...)...)
	assert.Contains(t, text.stdout, "the gap between proof and attack from")
	assert.Contains(t, text.stdout, "attacks fool")
}
