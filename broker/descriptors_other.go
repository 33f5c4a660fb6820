//go:build !unix

package broker

import "math"

// openFilesLimit returns how many files the process may open, as far as is known.
func openFilesLimit() int { return math.MaxInt32 }
