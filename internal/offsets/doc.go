// Package offsets implements sets of offsets of a partition, which are stored as ranges.
package offsets
