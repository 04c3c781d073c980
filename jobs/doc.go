// Package jobs divides the certification, the attack or the smoothing of a data set, or the rest of
// a search for a proof of a property, into shards that many processes work on: on one machine, as
// a Slurm job array, or as a Kubernetes Indexed Job. There is no coordinator. A job is a Manifest and a Store, a folder that all see or a
// bucket:
//
//	manifest.json          what is done, of which model and images: NewManifest
//	results/0000012.jsonl  the result of shard 12: Run publishes it whole, and only once
//
// Run may be killed at any time and started again, on any machine, twice at once: it goes
// on from its journal and does nothing if the shard is published. Merge checks that every
// shard is there, of this manifest, with each of its images once, and hands the records on
// in the order of the images. What is done of an image does not depend on its shard, so
// the merged result is, to the byte, that of one run on one machine; the one exception is
// branch and bound with a time limit (Task.Repeatable). Of a property the verdict is what one
// machine's would be: Verify has shares of what is open in place of images.
//
// Kinds of work are Tasks. A record of an image is a sealed line of JSON, with the lines of
// its certificate after it; the journal of a shard and its result are made of them.
package jobs
