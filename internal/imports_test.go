// Package internal holds the test of the house's rules.
package internal

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/epsball/epsball"

// allowed lists what each package of the module may import of the module;
// those not listed (commands, generators, test helpers) are free.
var allowed = map[string][]string{
	"asm":           {},
	"kernels":       {"asm", "internal/half"},
	"internal/half": {}, "internal/exact": {}, "internal/sha256": {}, "internal/round": {}, "internal/vnnlib": {"internal/round"},
	"internal/reals":  {"model"},
	"model":           {"internal/half", "internal/atomicfile", "internal/sha256"},
	"dataset":         {"internal/half"},
	"net":             {"kernels", "model", "internal/exact"},
	"attack":          {"net", "kernels", "model"},
	"verify":          {"net", "kernels", "model"},
	"verify/branch":   {"verify"},
	"verify/check":    {"model"},
	"verify/cert":     {"verify/check", "internal/journal"},
	"verify/cert/bab": {"internal/journal", "verify/branch", "verify/cert", "verify/check"},
	"defend":          {"attack", "net", "kernels", "model"},
	"smooth":          {"attack", "net", "kernels"},
	"audit":           {"attack", "verify", "verify/branch", "net", "kernels", "model", "internal/reals", "internal/round"},
	"train":           {"attack", "verify", "net", "kernels", "model", "dataset", "internal/atomicfile"},
	"zoo":             {"model"},
	"internal/onnx":   {"model", "internal/half"},
	"onnx":            {"internal/onnx", "internal/formats", "internal/foreign"},
	"capi":            {"", "onnx", "internal/formats", "attack", "verify", "kernels", "model"},
	"":                {"internal/formats", "audit", "attack", "verify", "net", "kernels", "model"},

	// Results, and the files of runs.
	"report":              {"internal/show", "audit", "attack", "smooth", "verify", "net", "model", "train", "dataset"},
	"report/page":         {"report", "internal/plot", "internal/show", "attack", "audit", "train"},
	"internal/survey":     {"internal/input", "internal/pictures", "internal/show", "report", "audit", "attack", "verify", "kernels", "net", "model"},
	"internal/checkpoint": {"internal/journal", "internal/atomicfile", "audit", "net", "verify", "verify/branch"},
	"internal/outfile":    {"internal/journal", "internal/atomicfile", "internal/filelock"},
	"internal/show":       {},
	"internal/plot":       {},
	"internal/machine":    {"kernels"},
	"jobs":                {"internal/checkpoint", "internal/journal", "internal/runlog", "internal/filelock", "internal/atomicfile", "attack", "audit", "defend", "smooth", "kernels", "net", "verify", "verify/branch", "verify/check"},
	"jobs/s3":             {},
	"internal/ranges":     {"dataset"},
	"internal/charts":     {"internal/plot", "internal/show", "report"},
	"internal/input":      {"internal/formats", "internal/outfile", "attack", "audit", "dataset", "dataset/mnist", "kernels", "model", "net", "onnx"},
	"internal/journal":    {"verify/check", "internal/atomicfile", "internal/filelock"},
	"internal/recheck":    {"internal/show", "report", "verify/check", "dataset", "net"},
	"internal/runlog":     {"internal/journal", "internal/outfile", "verify/check", "verify/cert", "verify/cert/bab", "verify/branch", "verify", "attack", "audit", "smooth", "net", "model", "dataset"},

	// Questions about properties.
	"internal/query": {"audit", "internal/onnx", "internal/round", "internal/vnnlib", "kernels", "model", "net", "verify", "verify/branch", "verify/cert/bab", "verify/check"},

	// What is drawn.
	"internal/pictures": {"model"},
}

// light lists the only modules that the core may pull into a program, heavy what of
// the standard library it may not: each costs 0.1 MB and more.
var (
	light = []string{"golang.org/x/sys", "github.com/go-json-experiment/json"}
	heavy = []string{"encoding/json", "encoding/xml", "html", "net", "os/exec", "regexp", "text", "testing"}
)

type pkg struct {
	ImportPath, Dir string
	Standard        bool
	Imports, Deps   []string
	CgoFiles        []string
	Module          *struct{ Path string }
}

func list(t *testing.T, args ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,Deps,CgoFiles,Module"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	pkgs := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		require.NoError(t, d.Decode(&p))
		pkgs[p.ImportPath] = p
	}
	return pkgs
}

func short(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

func TestImports(t *testing.T) {
	pkgs := list(t, "./...")
	for path, p := range pkgs {
		name := short(path)
		if may, ok := allowed[name]; ok {
			for _, i := range p.Imports {
				if i == module || strings.HasPrefix(i, module+"/") {
					require.Contains(t, may, short(i), "%s must not import %s", path, i)
				}
			}
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/minio/") {
				require.Equal(t, "jobs/s3", name, "%s imports %s", path, i)
			}
			if i == module+"/asm" {
				require.Contains(t, []string{"kernels", "internal/asmgen"}, name, "%s imports asm", path)
			}
		}
	}
	for name := range allowed {
		_, ok := pkgs[strings.TrimSuffix(module+"/"+name, "/")]
		require.True(t, ok, "no package %q", name)
	}
}

// TestNoCgo: the C interface alone uses it, and is there where cgo is not.
func TestNoCgo(t *testing.T) {
	for path, p := range list(t, "./...") {
		if short(path) != "capi" {
			require.Empty(t, p.CgoFiles, path)
			require.NotContains(t, p.Imports, "C", path)
		}
	}
	t.Setenv("CGO_ENABLED", "0")
	require.Contains(t, list(t, "./..."), module+"/capi")
}

// TestCoreIsLight: an embedder pays for no CLI, data set, model or trainer.
func TestCoreIsLight(t *testing.T) {
	all := list(t, "-deps", ".", "./audit", "./model")
	for _, p := range all {
		if p.Standard {
			for _, h := range heavy {
				require.False(t, p.ImportPath == h || strings.HasPrefix(p.ImportPath, h+"/"), "the core pulls in %s", p.ImportPath)
			}
			continue
		}
		if p.Module.Path == module {
			require.NotContains(t, []string{"dataset", "dataset/mnist", "defend", "smooth", "zoo", "train", "onnx", "internal/onnx", "report", "jobs", "internal/show", "internal/input", "cmd/epsball"}, short(p.ImportPath))
			continue
		}
		require.Contains(t, light, p.Module.Path, "the core pulls in %s", p.ImportPath)
	}
}

// TestProtowireAlone: the protobuf runtime registers types and reflects; only its
// wire format is wanted.
func TestProtowireAlone(t *testing.T) {
	for path := range list(t, "-deps", "./onnx") {
		if strings.HasPrefix(path, "google.golang.org/protobuf/") {
			require.Contains(t, []string{
				"google.golang.org/protobuf/encoding/protowire", "google.golang.org/protobuf/internal/errors",
				"google.golang.org/protobuf/internal/detrand",
			}, path)
		}
	}
}
