package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/audit"
)

// TestEvalChecks: what attacks find is always verified; more is looked at if an attack is
// named, and what fails is exit status 1.
func TestEvalChecks(t *testing.T) {
	const line = "eval --model builtin:mnist-small-standard --n 60 --eps 0.1"
	checks := func(code int, line string) map[string]string {
		attacks := real(t, code, line)["results"].([]any)[0].(map[string]any)["attacks"].([]any)
		v := map[string]string{}
		for _, c := range attacks[len(attacks)-1].(map[string]any)["checks"].([]any) {
			v[c.(map[string]any)["name"].(string)] = c.(map[string]any)["verdict"].(string)
		}
		return v
	}
	short := checks(0, line+" --steps 5")
	assert.Equal(t, "ok", short["inside"])
	assert.NotContains(t, short, "noise")
	assert.Len(t, checks(0, line+" --attack fast"), len(audit.Diagnostics()))
	assert.Equal(t, short, checks(0, line+" --attack pgd:steps=5 --checks off"))
	weak := checks(1, line+" --defence jpeg --defence-gradient exact --attack pgd:steps=10")
	assert.Equal(t, "fail", weak["zero-gradients"])

	f := newFiles(t)
	r := run(args("eval --model %s --data %s --eps 0.02 --steps 3 --checks quick", f.model, f.data)...)
	require.Zero(t, r.code, r.stderr)
	assert.Regexp(t, `checks: .*[0-9]+ ok`, r.stdout)
	assert.Equal(t, 2, run(args("eval --model %s --data %s --checks some", f.model, f.data)...).code)
}
