package logclient

import "errors"

// Package tidings exports both errors under the same names, so their texts are written for its users.
var (
	// ErrUnreachable is matched when the log does not answer within Config.ConnectTimeout.
	ErrUnreachable = errors.New("tidings: the log cannot be reached")
	// ErrClosed is matched by the errors of all calls on a Client that was closed or aborted.
	ErrClosed = errors.New("tidings: the app is closed")
)
