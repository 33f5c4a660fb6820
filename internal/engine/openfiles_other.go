//go:build !unix

package engine

// maxOpenFiles returns how many segment files may be open at once.
func maxOpenFiles() int { return defaultOpenFiles }
