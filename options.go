package tidings

import (
	"log/slog"
	"time"

	"tidings.dev/internal/obligation"
)

// Option is an option of [Open]: [WithLogger], [ConnectTimeout], [EmitTimeout], [DrainTimeout], [Instance] or
// [AppVersion].
type Option func(*appOptions)

type appOptions struct {
	log            *slog.Logger
	connectTimeout time.Duration
	drainTimeout   time.Duration
	emitTimeout    time.Duration
	instance       string
	version        obligation.Version
	// metadataMaxAge is how late the app notices new partitions of its topics, at most. Tests shorten it.
	metadataMaxAge time.Duration
}

// WithLogger sets the logger of the app. The default, also for nil, is slog.Default(). Payloads are never logged. A
// warning of one cause is written at most once a second; the next one has the number of those left out in its
// attribute "repeated". Texts of more than 4 KiB, such as those of handlers' errors, are cut.
func WithLogger(l *slog.Logger) Option { return func(o *appOptions) { o.log = l } }

// ConnectTimeout sets how long [App.Run] waits for the log to be reachable when it begins, and the first Emit on a
// topic, which waits no longer than [EmitTimeout]. The default is 10 seconds. If the log becomes unreachable later on,
// the app reconnects by itself, for as long as that takes.
func ConnectTimeout(d time.Duration) Option { return func(o *appOptions) { o.connectTimeout = d } }

// EmitTimeout sets how long [Fact.Emit] waits for the log to acknowledge an event. After that it fails with an
// [*UnacknowledgedError], which says whether the event may be in the log. The timeout also holds for events that a
// handler emits: if the log does not acknowledge one in time, the event being handled has failed and is tried again.
// The default is 30 seconds; 0 or less means no timeout, so that Emit waits until its context is done.
func EmitTimeout(d time.Duration) Option {
	return func(o *appOptions) { o.emitTimeout = max(d, 0) }
}

// DrainTimeout sets how long the app waits for running handlers when the context of Run is done, and when their
// partition goes to another instance, which begins with the partition only after they have ended. Once the timeout is
// over, the app cancels the handlers' contexts, and stops waiting 2 seconds later. The default is 20 seconds. When a
// partition goes to another instance, the app waits for at most 50 seconds, because the group would exclude this
// instance after a minute.
func DrainTimeout(d time.Duration) Option { return func(o *appOptions) { o.drainTimeout = d } }

// Instance sets a name for this instance of the app that it keeps across restarts, as static members of a Kafka group
// do (KIP-345). A named instance that is killed and started again gets its partitions back at once; without a name,
// they stay unassigned until its session ends, after 10 seconds. An instance that does not come back is noticed only
// then, too. If two running instances have the same name, the group excludes the older one. Apps on an embedded broker
// get such names by themselves.
func Instance(name string) Option { return func(o *appOptions) { o.instance = name } }

// AppVersion sets the version of the program, so that instances of different versions can run at the same time, as in
// a rolling deployment. Versions are compared by the numbers in them: 1.9 is lower than 1.10. The default is the time
// of the commit that the program was built from, which the Go command stamps into binaries, though not under "go run"
// and "go test". A version that is set is higher than every default one.
//
// The instance of the highest version decides which types a reaction is subscribed to. Other instances of that version
// may add types but not remove any; a lower version changes nothing. If an instance receives an event of a type that
// the reaction is subscribed to, but has no handler for that type, it does not pass over the event: it leaves the
// event to instances that have a handler, leaves the group, and stands by until it can handle all types that the
// reaction is subscribed to. It logs that it does so.
func AppVersion(name string) Option {
	return func(o *appOptions) { o.version = obligation.Version{Named: name} }
}
