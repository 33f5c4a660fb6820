//go:build !linux

package engine

import (
	"errors"
	"testing"
)

func mountTmpfs(*testing.T, string, int64) error { return errors.New("only on Linux") }
