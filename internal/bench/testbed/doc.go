// Package testbed has what benchmarks need to run: a broker in another process, which is started by the path of its
// program, directories for files, the flags that benchmarks share, and the display of progress. It links no broker,
// so that a benchmark of one release can measure the program of another release.
package testbed
