//go:build !linux

package testbed

import "errors"

// dropFile returns errors.ErrUnsupported, as this system cannot drop pages at once.
func dropFile(string) error { return errors.ErrUnsupported }
