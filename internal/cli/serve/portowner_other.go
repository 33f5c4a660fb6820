//go:build !linux

package serve

// portOwner returns "another process". Only Linux tells which process has a port.
func portOwner(int) string { return "another process" }
