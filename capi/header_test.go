package main

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkHeader: epsball.h is C89 and C++, keeps what version 1 promised, and declares
// what the library exports, no more and no less. That the functions are what it
// declares is the compiler's business: epsball.c includes it.
func checkHeader(t *testing.T, cc, library string) {
	object := filepath.Join(t.TempDir(), "abi")
	compile(t, cc, object, []string{"-std=c89", "-pedantic-errors", "-c", "-o", "", "testdata/abi.c"})
	if !lacks("g++") {
		compile(t, "g++", object, []string{"-x", "c++", "-std=c++98", "-pedantic-errors", "-c", "-o", "", "testdata/abi.c"})
	}

	f, err := elf.Open(library)
	require.NoError(t, err)
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	require.NoError(t, err)
	var exported []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && strings.HasPrefix(s.Name, "epsball_") {
			exported = append(exported, s.Name)
		}
	}
	header := read(t, "epsball.h")
	declared := matches(`(?m)^EPSBALL_API .*\b(epsball_\w+)\(`, header)
	assert.Len(t, declared, 11)
	assert.ElementsMatch(t, declared, exported)

	// What Go has generated calls the same private functions as epsball.c.
	generated := matches(`(?m)^extern .*\b(epsball_go_\w+)\(`, read(t, strings.TrimSuffix(library, ".so")+".h"))
	called := matches(`\b(epsball_go_\w+)\(`, read(t, "epsball.c"))
	slices.Sort(called)
	assert.ElementsMatch(t, generated, slices.Compact(called))
}

// TestPythonConstants: the binding has the numbers of the header.
func TestPythonConstants(t *testing.T) {
	numbers := func(file, pattern string) map[string]string {
		got := map[string]string{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
			got[m[1]] = m[2]
		}
		return got
	}
	header := numbers("epsball.h", `(?m)^#define EPSBALL_(\w+) (\d+)\b`)
	require.Len(t, header, 15)
	require.Equal(t, header, numbers("python/epsball/_abi.py", `(?m)^([A-Z][A-Z_]+) = (\d+)\b`))
}

func matches(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
