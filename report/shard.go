package report

import (
	"fmt"

	"github.com/epsball/epsball/internal/show"
)

// ShardPlan is the result of shard plan.
type ShardPlan struct {
	Envelope
	Job      string `json:"job"`      // its folder
	Manifest string `json:"manifest"` // its hash, which every result of the job names
	Kind     string `json:"kind"`     // of work
	Offset   int    `json:"offset"`
	N        int    `json:"n"`
	Shards   int    `json:"shards"`
	Size     int    `json:"size"` // images of a shard, the last of which may have fewer; of verify, for which N counts them, open parts
}

// ShardRun is the result of shard run.
type ShardRun struct {
	Envelope
	Job     string  `json:"job"`
	Kind    string  `json:"kind"` // of work; of verify, a shard has one share in place of images
	Shard   int     `json:"shard"`
	First   int     `json:"first"` // index of its first image
	N       int     `json:"n"`
	Outcome string  `json:"outcome"` // published; skipped: it was published before; late: while it was being done
	Bytes   int64   `json:"bytes"`   // of its records
	Seconds float64 `json:"seconds"` // of the work
}

// kindVerify is the kind of work that has no images.
const kindVerify = "verify"

// Outcomes of ShardRun.
const (
	ShardPublished = "published"
	ShardSkipped   = "skipped"
	ShardLate      = "late"
)

// ShardStatus is the result of shard status.
type ShardStatus struct {
	Envelope
	Job       string      `json:"job"`
	Kind      string      `json:"kind"` // of work; of verify, shares stand for images
	Shards    int         `json:"shards"`
	Published int         `json:"published"`
	N         int         `json:"n"`
	Images    int         `json:"images"` // of the published shards
	Bytes     int64       `json:"bytes"`
	Complete  bool        `json:"complete"`
	Missing   []ShardSpan `json:"missing"`
	Foreign   []string    `json:"foreign"`         // names that are none of the job's, the first few
	Leftover  int         `json:"leftover"`        // temporary files
	Seconds   *float64    `json:"seconds_a_shard"` // mean of a sample; null: none is published
	Left      *float64    `json:"seconds_left"`    // of work, on one process like those so far
}

// ShardSpan are shards, the last included.
type ShardSpan struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// ShardMerge is the result of shard merge: that of certify, attack or smooth on all images, or of verify.
type ShardMerge struct {
	Envelope
	Job     string       `json:"job"`
	Shards  int          `json:"shards"`
	Seconds float64      `json:"seconds"` // of work, of all shards together
	Recheck ShardRecheck `json:"recheck"`
	Out     string       `json:"out,omitempty"`
	Certify *CertifyRun  `json:"certify,omitempty"`
	Attack  *AttackRun   `json:"attack,omitempty"`
	Smooth  *SmoothRun   `json:"smooth,omitempty"`
	Verify  *Verify      `json:"verify,omitempty"`
	Hints   []string     `json:"hints"`
}

// ShardRecheck is what was done again of a sample of the images.
type ShardRecheck struct {
	By     string `json:"by"`     // checker: certificates, independently; again: the same work, to the same bytes; none
	Images int    `json:"images"` // of verify: shares
	Proved int    `json:"proved"` // by checker: those that have a certificate, all valid; of verify: all
	Seed   uint64 `json:"seed"`   // that drew them
}

// The values of ShardRecheck.By.
const (
	RecheckChecker = "checker"
	RecheckAgain   = "again"
	RecheckNone    = "none"
)

func (*ShardPlan) kind() Kind   { return KindShardPlan }
func (*ShardRun) kind() Kind    { return KindShardRun }
func (*ShardStatus) kind() Kind { return KindShardStatus }
func (*ShardMerge) kind() Kind  { return KindShardMerge }

// Text says what was planned and what comes next.
func (r *ShardPlan) Text() string {
	if r.Kind == kindVerify {
		return show.Facts(
			"job", r.Job,
			"work", fmt.Sprintf("%s of %s: %s of %s", r.Kind, r.Epsball.Models[0].Name, show.Count(r.N, "open part"), r.Data),
			"shards", fmt.Sprintf("%d of up to %s, index 0 … %d", r.Shards, show.Count(r.Size, "part"), r.Shards-1),
			"manifest", r.Manifest,
		)
	}
	return show.Facts(
		"job", r.Job,
		"work", fmt.Sprintf("%s of %s: images %d … %d of %s", r.Kind, r.Epsball.Models[0].Name, r.Offset, r.Offset+r.N-1, r.Data),
		"shards", fmt.Sprintf("%d of %s, index 0 … %d", r.Shards, show.Count(r.Size, "image"), r.Shards-1),
		"manifest", r.Manifest,
	)
}

// Text says what became of the shard.
func (r *ShardRun) Text() string {
	outcome := map[string]string{
		ShardPublished: fmt.Sprintf("published, %s after %s", show.Bytes(int(r.Bytes)), show.Seconds(r.Seconds)),
		ShardSkipped:   "was published before; nothing to do",
		ShardLate:      "another process has published it first; nothing was changed",
	}[r.Outcome]
	shard := fmt.Sprintf("%d of %s, images %d … %d", r.Shard, r.Job, r.First, r.First+r.N-1)
	if r.Kind == kindVerify {
		shard = fmt.Sprintf("%d of %s", r.Shard, r.Job)
	}
	return show.Facts("shard", shard, "result", outcome)
}

// Text says how far the job has come.
func (r *ShardStatus) Text() string {
	published := fmt.Sprintf("%d of %s (%s)", r.Published, show.Count(r.Shards, "shard"), show.Percent(show.Fraction(r.Published, r.Shards)))
	if r.Kind != kindVerify {
		published += fmt.Sprintf(", %d of %s", r.Images, show.Count(r.N, "image"))
	}
	pairs := []string{"job", r.Job, "published", published + ", " + show.Bytes(int(r.Bytes))}
	if r.Seconds != nil {
		pairs = append(pairs, "a shard takes", show.Seconds(*r.Seconds)+" on average")
	}
	if len(r.Missing) > 0 {
		text := ""
		for k, s := range r.Missing {
			switch {
			case k == 10:
				text += ", …"
			case k > 10:
			case s.From == s.To:
				text += fmt.Sprintf(", %d", s.From)
			default:
				text += fmt.Sprintf(", %d … %d", s.From, s.To)
			}
		}
		pairs = append(pairs, "missing", text[2:])
	}
	if r.Left != nil && !r.Complete {
		pairs = append(pairs, "left", fmt.Sprintf("%s of work for one process like those so far", show.Seconds(*r.Left)))
	}
	if len(r.Foreign) > 0 {
		pairs = append(pairs, "not the job's", fmt.Sprint(r.Foreign))
	}
	if r.Leftover > 0 {
		pairs = append(pairs, "temporary files", fmt.Sprintf("%d: of processes that are writing, or were killed", r.Leftover))
	}
	return show.Facts(pairs...)
}

// Text returns the text of the merged result.
func (r *ShardMerge) Text() string {
	checked := fmt.Sprintf("%s, drawn by seed %d: ", show.Count(r.Recheck.Images, "image"), r.Recheck.Seed)
	switch r.Recheck.By {
	case RecheckChecker:
		checked += fmt.Sprintf("%d certified, and all of those valid", r.Recheck.Proved)
	case RecheckAgain:
		checked += "done again, to the same bytes"
	default:
		checked = "nothing"
	}
	if r.Verify != nil && r.Recheck.By == RecheckAgain {
		checked = fmt.Sprintf("%s that hold, drawn by seed %d: decided again, and they do", show.Count(r.Recheck.Images, "share"), r.Recheck.Seed)
	}
	head := show.Facts("job", fmt.Sprintf("%s, %s, each there once, %s of work", r.Job, show.Count(r.Shards, "shard"), show.Seconds(r.Seconds)), "re-checked", checked)
	switch {
	case r.Certify != nil:
		return head + (&Certify{Envelope: r.Envelope, CertifyRun: *r.Certify}).Text()
	case r.Attack != nil:
		return head + (&Attack{Envelope: r.Envelope, AttackRun: *r.Attack}).Text()
	case r.Verify != nil:
		return head + r.Verify.Text() + r.Verify.Summary() + "\n"
	case r.Smooth != nil:
		return head + (&Smooth{Envelope: r.Envelope, SmoothRun: *r.Smooth}).Text()
	}
	return head
}
