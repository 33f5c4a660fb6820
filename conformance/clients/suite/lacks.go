package suite

import (
	"context"
	"errors"
)

// Lacks has a method for each that some clients lack. Such a client embeds it.
type Lacks struct{}

func (Lacks) DeleteRecords(context.Context, string, int64) error { return errors.ErrUnsupported }

func (Lacks) Transaction(context.Context, string, string, bool, Record) error {
	return errors.ErrUnsupported
}
