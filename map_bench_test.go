package epsball_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/model"
)

// loaded is what a process has to say that has loaded a model and classified images,
// one at a time.
type loaded struct {
	LoadMS, ClassifyMS float64 // the best of 50
	Anon, File, Peak   float64 // MiB of memory: its own, of files, and the most at a time
}

const loadEnv = "EPSBALL_TEST_LOAD" // for a process that BenchmarkLoadFile starts: the file and how

// BenchmarkLoadFile starts a process for each way of holding cifar-large (of 69 MB, 67 of
// them in one fully connected layer) and reports its resident memory and how long it
// takes to load, and to classify one image with one thread.
//
//	go test -run '^$' -bench Load .
func BenchmarkLoadFile(b *testing.B) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("memory is read from /proc")
	}
	a, err := model.Preset("cifar-large")
	require.NoError(b, err)
	m, err := model.Random(a, 1)
	require.NoError(b, err)
	exe, err := os.Executable()
	require.NoError(b, err)
	for _, c := range []struct {
		how     string
		storage model.Storage
	}{
		{"none", model.Storage{}},
		{"load", model.Storage{}},
		{"load-few", model.Storage{}},
		{"load-few", model.Storage{Type: model.BF16}},
		{"map-few", model.Storage{}},
		{"map-few", model.Storage{Type: model.F32, Tiles: true}},
		{"map-few", model.Storage{Type: model.BF16, Tiles: true}},
		{"map-few", model.Storage{Type: model.F16, Tiles: true}},
	} {
		stored, err := m.Store(func(i int) model.Storage {
			s := c.storage
			if a.Layers[i].Kind == model.Conv {
				s.Type = model.F32
			}
			return s
		})
		require.NoError(b, err)
		path := filepath.Join(b.TempDir(), "m.safetensors")
		require.NoError(b, stored.Save(path))
		b.Run(c.how+"/"+strings.ReplaceAll(c.storage.String(), " ", "-"), func(b *testing.B) {
			var l loaded
			for b.Loop() {
				cmd := exec.Command(exe, "-test.run", "^TestLoadProcess$")
				cmd.Env = append(os.Environ(), loadEnv+"="+c.how+" "+path)
				out, err := cmd.Output()
				require.NoError(b, err)
				require.NoError(b, json.NewDecoder(bytes.NewReader(out)).Decode(&l))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(l.LoadMS, "load-ms")
			b.ReportMetric(l.ClassifyMS, "classify-ms")
			b.ReportMetric(l.Anon, "own-MiB")
			b.ReportMetric(l.File, "file-MiB")
			b.ReportMetric(l.Peak, "peak-MiB")
		})
	}
}

// TestLoadProcess is the process.
func TestLoadProcess(t *testing.T) {
	how, path, ok := strings.Cut(os.Getenv(loadEnv), " ")
	if !ok {
		t.Skip("for BenchmarkLoadFile")
	}
	var l loaded
	if how != "none" {
		load, opts := epsball.Load, []epsball.Option{epsball.Threads(1)}
		if strings.HasPrefix(how, "map") {
			load = epsball.Map
		}
		if strings.HasSuffix(how, "few") {
			opts = append(opts, epsball.FewImages())
		}
		start := time.Now()
		m, err := load(path, opts...)
		require.NoError(t, err)
		defer m.Close()
		l.LoadMS = 1e3 * time.Since(start).Seconds()
		c, h, w := m.Input()
		x, p := epsball.Batch{X: make([]float32, c*h*w)}, new(epsball.Prediction)
		l.ClassifyMS = math.Inf(1)
		for range 50 {
			start := time.Now()
			require.NoError(t, m.ClassifyInto(context.Background(), x, p))
			l.ClassifyMS = min(l.ClassifyMS, 1e3*time.Since(start).Seconds())
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for _, line := range strings.Split(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		var kib float64
		if _, err := fmt.Sscan(value, &kib); err != nil {
			continue
		}
		switch name {
		case "RssAnon":
			l.Anon = kib / 1024
		case "RssFile":
			l.File = kib / 1024
		case "VmHWM":
			l.Peak = kib / 1024
		}
	}
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(l))
}
