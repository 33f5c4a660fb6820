//go:build !linux || !(amd64 || arm64 || riscv64 || loong64 || ppc64le || s390x)

package cli

import (
	"errors"
	"fmt"
)

// dropFromCache cannot be done here: this system has no posix_fadvise, or the standard library no number for it.
func dropFromCache(string) error {
	return fmt.Errorf("drop files from the page cache: %w", errors.ErrUnsupported)
}
