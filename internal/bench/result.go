package bench

// Result is what a run has measured. docs/benchmarks.md explains the keys of its
// JSON.
type Result struct {
	PeakGFLOPS float64     `json:"peak_gflops"` // of one core, with the first kernel set
	Peaks      []Peak      `json:"peaks"`       // the best measured before the rows and after
	Read       []Bandwidth `json:"read_gbps"`   // likewise
	Rows       []Row       `json:"rows"`
	Noisy      int         `json:"noisy"` // rows that are
	Skipped    []Skip      `json:"skipped"`
	Absent     []Absent    `json:"absent,omitempty"` // other runtimes that the peers lack
	Python     *Python     `json:"python,omitempty"` // of the peers
	CPU        string      `json:"cpu"`
	ISA        string      `json:"isa"` // the first kernel set
	ISAs       []string    `json:"isas"`
	Threads    int         `json:"threads"` // the most
	Pinned     bool        `json:"pinned"`
	Seconds    float64     `json:"seconds"`

	pinning string
}

// Peak is the peak of fused multiply-adds of some threads together.
type Peak struct {
	ISA     string  `json:"isa"`
	Threads int     `json:"threads"`
	GFLOPS  float64 `json:"gflops"`
}

// Bandwidth is how fast some threads together read.
type Bandwidth struct {
	Level   string  `json:"level"` // of the memory
	Bytes   int     `json:"bytes"` // that each thread reads again and again
	Threads int     `json:"threads"`
	GBps    float64 `json:"gbps"`
}

// Row is a case measured.
type Row struct {
	Name            string  `json:"name"`
	Kind            Kind    `json:"kind"`
	Variant         string  `json:"variant,omitzero"` // suffix of the name
	ISA             string  `json:"isa"`
	Threads         int     `json:"threads"`
	Batch           int     `json:"batch"` // 0 for kernels
	GFLOPS          float64 `json:"gflops"`
	PeakGFLOPS      float64 `json:"peak_gflops"` // of these threads and kernels, measured between the repeats
	FractionOfPeak  float64 `json:"fraction_of_peak,omitzero"`
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

	*Edge // nil unless Kind is KindEdge

	group   string
	samples []timing
}

// timing is one repeat.
type timing struct {
	seconds float64 // of one run
	calls   int
}

// Edge is what a row of a fresh process has beside the others.
type Edge struct {
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

// Skip is a row that was not measured.
type Skip struct {
	Name   string `json:"name"`
	ISA    string `json:"isa"`
	Reason string `json:"reason"`
}

// Absent is another runtime that could not be measured.
type Absent struct {
	Runtime string `json:"runtime"`
	Reason  string `json:"reason"`
}

// Python is the interpreter of the peers, with NumPy alone.
type Python struct {
	Version string  `json:"version"`
	RSS     int64   `json:"rss"`
	Seconds float64 `json:"seconds"` // until it was ready
}
