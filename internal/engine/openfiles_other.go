//go:build !unix

package engine

// MaxOpenFiles returns how many segment files may be open at once.
func MaxOpenFiles() int { return defaultOpenFiles }
