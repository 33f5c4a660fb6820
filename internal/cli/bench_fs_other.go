//go:build !linux

package cli

func fileSystem(string) string { return "" }
