package tidings

import (
	"log/slog"
	"time"
)

// Option is an option of Open.
type Option func(*appOptions)

type appOptions struct {
	log            *slog.Logger
	connectTimeout time.Duration
	drainTimeout   time.Duration
	instance       string
	metadataMaxAge time.Duration // of tests: how soon new partitions are found
}

// WithLogger sets where the app logs; the default is slog.Default. Payloads are never logged.
func WithLogger(l *slog.Logger) Option { return func(o *appOptions) { o.log = l } }

// ConnectTimeout is how long Run, and the first Emit on a topic, wait for the log to be reachable. The default is 10
// seconds. Later on the app reconnects by itself for as long as it takes.
func ConnectTimeout(d time.Duration) Option { return func(o *appOptions) { o.connectTimeout = d } }

// DrainTimeout is how long Run waits for running handlers once its context is done; then it cancels their contexts. The
// default is 20 seconds.
func DrainTimeout(d time.Duration) Option { return func(o *appOptions) { o.drainTimeout = d } }

// Instance gives this instance of the app a name that it keeps across restarts: a killed instance which comes back
// takes over its partitions at once, where others are waited for until their session ends (10 seconds). The price: one
// that stays dead is missed only then, too, and of two running instances with one name the older is shut out.
// (Static membership, KIP-345.) Apps on an embedded broker have such names by themselves.
func Instance(name string) Option { return func(o *appOptions) { o.instance = name } }
