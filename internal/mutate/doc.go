// Package mutate holds the test that feeds damaged files to every reader of the
// project: mutants of valid files, many of them mended (checksums, lengths,
// compression) so that the damage gets past the outermost check.
package mutate
