package report

// Bench is the result of bench: how much of a machine the library uses.
// docs/benchmarks.md explains the method. ISA of the envelope is the first kernel set,
// Threads the most, and its models are those timed, the presets with random weights too.
type Bench struct {
	Envelope
	PeakGFLOPS float64       `json:"peak_gflops"` // of one core, with the first kernel set
	Peaks      []BenchPeak   `json:"peaks"`       // the best measured before the rows and after
	Read       []BenchRead   `json:"read_gbps"`   // likewise
	Rows       []BenchRow    `json:"rows"`
	Noisy      int           `json:"noisy"` // rows that are
	Skipped    []BenchSkip   `json:"skipped"`
	Absent     []BenchAbsent `json:"absent,omitempty"` // other runtimes that the peers lack
	Python     *BenchPython  `json:"python,omitempty"` // of the peers
	CPU        string        `json:"cpu"`
	ISAs       []string      `json:"isas"`
	Pinned     bool          `json:"pinned"`
	Pinning    string        `json:"pinning"` // in words: which threads, on which CPUs
	Seconds    float64       `json:"seconds"`
}

// RowKind is what a row measures, and tells how its name is made.
type RowKind string

// The kinds of rows.
const (
	RowPass   RowKind = "pass"   // PASS/NET/bBATCH/tTHREADS
	RowLayer  RowKind = "layer"  // layer/OPERATION/NET/LAYER/bBATCH/tTHREADS
	RowKernel RowKind = "kernel" // kernel/OPERATION/LEVEL/tTHREADS
	RowEdge   RowKind = "edge"   // edge/NET/b1/tTHREADS
)

const (
	// NoisySpread is the spread above which a row is noisy. The median of twenty
	// repeats of that spread is off by up to 4 % nineteen times out of twenty: more
	// than most comparisons are about.
	NoisySpread = 0.1

	// QuietShare is what other programs may take of the CPUs in a round of RowEdge that
	// counts as quiet. Others are made up for, and the quietest rounds count.
	QuietShare = 0.05
)

// BenchPeak is the peak of fused multiply-adds of some threads together.
type BenchPeak struct {
	ISA     string  `json:"isa"`
	Threads int     `json:"threads"`
	GFLOPS  float64 `json:"gflops"`
}

// BenchRead is how fast some threads together read.
type BenchRead struct {
	Level   string  `json:"level"` // of the memory
	Bytes   int     `json:"bytes"` // that each thread reads again and again
	Threads int     `json:"threads"`
	GBps    float64 `json:"gbps"`
}

// BenchRow is a case measured.
type BenchRow struct {
	Name            string  `json:"name"`
	Kind            RowKind `json:"kind"`
	Variant         string  `json:"variant,omitzero"` // suffix of the name
	ISA             string  `json:"isa"`
	Threads         int     `json:"threads"`
	Batch           int     `json:"batch"` // 0 for kernels
	GFLOPS          float64 `json:"gflops"`
	PeakGFLOPS      float64 `json:"peak_gflops"` // of these threads and kernels, measured between the repeats
	FractionOfPeak  float64 `json:"fraction_of_peak"`
	ImagesPerS      float64 `json:"images_per_s"`
	Seconds         float64 `json:"seconds"` // of one run, the median
	Fastest         float64 `json:"fastest"` // seconds
	Slowest         float64 `json:"slowest"` // seconds
	Spread          float64 `json:"spread"`  // interquartile range relative to the median; 0 of a single repeat
	Noisy           bool    `json:"noisy"`   // the spread is above NoisySpread
	Repeats         int     `json:"repeats"`
	Bytes           float64 `json:"bytes"`              // compulsory traffic of one run
	Intensity       float64 `json:"intensity"`          // operations for each of these bytes
	GBps            float64 `json:"gbps"`               // these bytes over the time
	Speedup         float64 `json:"speedup,omitzero"`   // over one thread
	Ratio           float64 `json:"ratio,omitzero"`     // of speeds: to the direct kernels of the first kernel set
	Share           float64 `json:"share,omitzero"`     // of the time of the layers timed
	ReadGBps        float64 `json:"read_gbps,omitzero"` // of the kernel's level, or of as much memory as the layer has
	FractionOfReads float64 `json:"fraction_of_read,omitzero"`

	Runs    int       `json:"runs"`    // in each repeat
	Samples []float64 `json:"samples"` // of each repeat in turn, the seconds of one run; of RowEdge the median

	*BenchEdge // nil unless Kind is RowEdge
}

// BenchEdge is what a row of a fresh process has beside the others.
type BenchEdge struct {
	Runtime      string  `json:"runtime"`
	Version      string  `json:"version"`
	Calls        int     `json:"calls"` // timed, in all repeats
	P95          float64 `json:"p95"`   // seconds, of all calls
	P99          float64 `json:"p99"`
	Startup      float64 `json:"startup"`     // seconds from the start of the process to its first answer, less interpreter
	Interpreter  float64 `json:"interpreter"` // seconds until Python with NumPy was ready
	Import       float64 `json:"import"`      // of startup: to load the runtime
	Load         float64 `json:"load"`        // of startup: to load the model
	First        float64 `json:"first"`       // of startup: the first answer
	RSS          int64   `json:"rss"`         // resident bytes after the first answer; 0: not known
	MaxRSS       int64   `json:"max_rss"`     // the most until then
	BaseRSS      int64   `json:"base_rss"`    // before runtime and model were loaded
	LibraryBytes int64   `json:"library_bytes"`
	WeightBytes  int64   `json:"weight_bytes,omitzero"` // ours alone, as these three
	Allocs       int64   `json:"allocs"`                // allocations a call
	Goroutines   int     `json:"goroutines"`            // more than before the model was loaded
	Others       float64 `json:"others"`                // share of the CPUs that other programs took in the busiest repeat
}

// BenchSkip is a row that was not measured.
type BenchSkip struct {
	Name   string `json:"name"`
	ISA    string `json:"isa"`
	Reason string `json:"reason"`
}

// BenchAbsent is another runtime that could not be measured.
type BenchAbsent struct {
	Runtime string `json:"runtime"`
	Reason  string `json:"reason"`
}

// BenchPython is the interpreter of the peers, with NumPy alone.
type BenchPython struct {
	Version string  `json:"version"`
	RSS     int64   `json:"rss"`
	Seconds float64 `json:"seconds"` // until it was ready
}

func (*Bench) kind() Kind { return KindBench }
