//go:build !linux

package cli

// portOwner would name the process that listens on a TCP port; only Linux tells.
func portOwner(int) string { return "another process" }
