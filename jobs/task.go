package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify/branch"
)

// Task is a kind of work with its settings: a pointer to a struct, which a manifest holds
// as JSON. What it does of an image must depend on that image and its index alone.
type Task interface {
	Kind() string

	// Validate returns an error that names a setting as its key in JSON does.
	Validate() error

	// Work prepares the work on some images.
	Work(s *Subject) (Work, error)

	// Repeatable reports whether two runs write the same bytes.
	Repeatable() bool
}

// Work is a task on some images. It must be used by one goroutine at a time.
type Work interface {
	// Run does those images of which the journal at path has no record, and appends their
	// records to it. The file is made if it is not there; what belongs to another run is an
	// error. Journals are those of internal/journal: Run may be killed at any time.
	Run(ctx context.Context, path string) error

	// Read takes records of images that have none yet, as Run would from a journal.
	Read(r io.Reader) error
}

// Subject is what a task works on.
type Subject struct {
	Model string // its hash
	Data  string // the data set as named
	First int    // index of the first image
	Net   *net.Network
	Pool  *kernels.Pool
	X     []float32 // images, channels first, pixels in [0, 1]
	Y     []int

	Shares *Shares // of Verify, instead of images

	// Progress, if not nil, is told how far Run has come; Search how a search by branch and
	// bound stands.
	Progress func(pass string, done, total int)
	Search   func(branch.Progress)
}

// tasks makes an empty task of each kind.
var tasks = map[string]func() Task{
	KindCertify: func() Task { return new(Certify) },
	KindAttack:  func() Task { return new(Attack) },
	KindSmooth:  func() Task { return new(Smooth) },
	KindVerify:  func() Task { return new(Verify) },
}

// Kinds lists the kinds of work.
func Kinds() []string { return slices.Sorted(maps.Keys(tasks)) }

// decodeTask reads the settings of a task.
func decodeTask(kind string, settings []byte) (Task, error) {
	empty, ok := tasks[kind]
	if !ok {
		return nil, fmt.Errorf("kind: got %.80q, want one of %s", kind, strings.Join(Kinds(), ", "))
	}
	t := empty()
	d := json.NewDecoder(bytes.NewReader(settings))
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	return t, nil
}
