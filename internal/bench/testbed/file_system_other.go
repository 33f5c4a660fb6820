//go:build !linux

package testbed

// fileSystem returns "", as the type of a file system is not read on this system.
func fileSystem(string) string { return "" }
