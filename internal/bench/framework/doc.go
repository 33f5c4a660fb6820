// Package framework measures package tidings beside programs that do the same with a bare kgo client: the kgo that the
// framework is built on is what it could reach at best. It uses the public API of package tidings only, as an
// application does.
//
// Each measurement is a type with a method for either side: [Backlog], for reactions that handle a backlog, [Latency], for
// the time from emitting an event until it is handled, [Emitting], for concurrent callers of Emit, and [Members], for the
// memory of reactions that wait.
package framework

import (
	"context"

	"tidings.dev/internal/bench"
)

// Names of the contenders in reports.
const (
	Name    = "framework"
	BareKgo = "bare_kgo"
)

// Side measures one of the two sides of a measurement of type T. The progress may be nil.
type Side[T any] func(T, context.Context, bench.Endpoint, *bench.Progress) (bench.Measured, error)
