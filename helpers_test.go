package tidings_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/embedded"
	"tidings.dev/internal/obligation"
	"tidings.dev/kgolink"
)

// The facts of these stories. An order's number tells handlers what to do; Seq counts the facts of one order.
type order struct {
	ID  string `json:"id"`
	Seq int    `json:"seq,omitempty"`
}

func about(o order) string { return "order/" + o.ID }

var (
	placed   = tidings.Define[order]("shop.order.placed", tidings.In("orders", tidings.Partitions(4)), tidings.Subject(about))
	captured = tidings.Define[order]("shop.payment.captured", tidings.In("orders", tidings.Partitions(4)), tidings.Subject(about))
	shipped  = tidings.Define[order]("shop.order.shipped", tidings.In("orders", tidings.Partitions(4)), tidings.Subject(about))
)

// patience is how long anything may take that is expected to happen.
const patience = time.Minute

// keep opens a log that outlives the apps of a test.
func keep(t *testing.T) tidings.Connection {
	t.Helper()
	where := embedded.WithoutStory(embedded.Memory())
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	return where
}

// quiet keeps the app's log to itself, unless TIDINGS_TEST_LOG is set.
func quiet() tidings.Option {
	if os.Getenv("TIDINGS_TEST_LOG") == "" {
		return tidings.WithLogger(slog.New(slog.DiscardHandler))
	}
	return tidings.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func open(t *testing.T, name string, where tidings.Connection, opts ...tidings.Option) *tidings.App {
	t.Helper()
	app, err := tidings.Open(name, where, append([]tidings.Option{quiet()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	return app
}

// running is an app that runs.
type running struct {
	*tidings.App
	t    *testing.T
	ctx  context.Context // bound to the app
	stop func()          // drains, and fails the test if Run fails
}

// start runs an app until it is ready.
func start(t *testing.T, app *tidings.App) *running {
	t.Helper()
	r := begin(t, app)
	select {
	case <-app.Ready():
	case <-time.After(patience):
		t.Fatalf("app %s is not ready", app.Name())
	}
	return r
}

// begin runs an app.
func begin(t *testing.T, app *tidings.App) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(app.Context(context.Background()))
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	var once sync.Once
	r := &running{App: app, t: t, ctx: app.Context(t.Context())}
	r.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ran:
				if err != nil {
					t.Errorf("app %s: %v", app.Name(), err)
				}
			case <-time.After(patience):
				t.Errorf("app %s does not stop", app.Name())
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) emit(f *tidings.Fact[order], o order, opts ...tidings.EmitOption) tidings.Receipt {
	r.t.Helper()
	receipt, err := f.Emit(r.ctx, o, opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// eventually waits until what is asked is so.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("not so in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// journal keeps what handlers have seen.
type journal struct {
	mu     sync.Mutex
	events []tidings.Meta
	seqs   map[string][]int // by subject
}

func (j *journal) note(e tidings.Event[order]) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e.Meta)
	if j.seqs == nil {
		j.seqs = map[string][]int{}
	}
	j.seqs[e.Subject] = append(j.seqs[e.Subject], e.Data.Seq)
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.events)
}

func (j *journal) ids() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []string
	for _, e := range j.events {
		ids = append(ids, e.ID)
	}
	return ids
}

func (j *journal) subjects() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []string
	for _, e := range j.events {
		all = append(all, e.Subject)
	}
	slices.Sort(all)
	return all
}

// ordered checks that each subject's facts were seen in order and once.
func (j *journal) ordered(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, subject := range slices.Sorted(maps.Keys(j.seqs)) {
		for i, seq := range j.seqs[subject] {
			if seq != i+1 {
				t.Errorf("%s was seen as %v", subject, j.seqs[subject])
				break
			}
		}
	}
}

// client is a Kafka client beside the framework.
func client(t *testing.T, where tidings.Connection, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	link, err := where.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(append(kgolink.Options(link), kgo.MetadataMinAge(10*time.Millisecond)), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Close()
		if link.Close != nil {
			link.Close()
		}
	})
	return cl
}

// dump reads a whole topic as it is now.
func dump(t *testing.T, where tidings.Connection, topic string) []*kgo.Record {
	t.Helper()
	cl := client(t, where, kgo.ConsumeTopics(topic))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var records []*kgo.Record
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for int64(len(records)) < left {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %d of %d records: %v", topic, len(records), left, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// factsIfAny is facts of a topic that need not be there.
func factsIfAny[F obligation.Fact](t *testing.T, where tidings.Connection, topic string) []F {
	t.Helper()
	found, err := kadm.NewClient(client(t, where)).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if !found.Has(topic) {
		return nil
	}
	return facts[F](t, where, topic)
}

// facts decodes what is on a topic of the framework.
func facts[F obligation.Fact](t *testing.T, where tidings.Connection, topic string) []F {
	t.Helper()
	var all []F
	for _, r := range dump(t, where, topic) {
		f, err := obligation.Decode(r.Value)
		if err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		if f, ok := f.(F); ok {
			all = append(all, f)
		}
	}
	return all
}

// dynamic is a connection as one to a cluster is: instances have no lasting names.
type dynamic struct{ tidings.Connection }

func (d dynamic) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := d.Connection.Connect(ctx)
	if err == nil {
		link.Instance = ""
	}
	return link, err
}

// faulty is a connection that refuses what the test wants refused.
type faulty struct {
	tidings.Connection
	refuse atomic.Pointer[func(apiKey int16) bool] // nil: nothing
	down   atomic.Bool                             // nothing can be dialled, and what is open breaks
	deaf   atomic.Bool                             // requests are taken and go nowhere
	pause  sync.RWMutex                            // answers do not arrive while it is locked
	lost   atomic.Int32                            // requests of this kind are taken and go nowhere; none with 0 or less

	mu    sync.Mutex
	conns []net.Conn // all that were made

	refused atomic.Int64 // requests
}

func (f *faulty) Connect(ctx context.Context) (*tidings.Link, error) {
	link, err := f.Connection.Connect(ctx)
	if err != nil {
		return nil, err
	}
	dial := link.Dial
	link.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if f.down.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError("the network is down")}
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.conns = append(f.conns, c)
		return &faultyConn{c, f}, nil
	}
	return link, nil
}

type faultyConn struct {
	net.Conn
	f *faulty
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.pause.RLock()
	defer c.f.pause.RUnlock()
	return n, err
}

// Write gets one request at a time: length (4 bytes), API key (2 bytes), and so on.
func (c *faultyConn) Write(b []byte) (int, error) {
	refuse := c.f.refuse.Load()
	lost := c.f.lost.Load()
	if c.f.deaf.Load() || lost > 0 && len(b) >= 6 && int32(b[4])<<8|int32(b[5]) == lost {
		return len(b), nil
	}
	if c.f.down.Load() || refuse != nil && len(b) >= 6 && (*refuse)(int16(b[4])<<8|int16(b[5])) {
		c.f.refused.Add(1)
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// breakConnections ends all connections that there are.
func (f *faulty) breakConnections() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// loseKey makes all requests of a kind go nowhere from now on. Produce, whose key is 0, cannot be lost.
func (f *faulty) loseKey(key int16) { f.lost.Store(int32(key)) }

// refuseKeys makes all requests of these kinds fail from now on.
func (f *faulty) refuseKeys(keys ...int16) {
	refuse := func(k int16) bool { return slices.Contains(keys, k) }
	f.refuse.Store(&refuse)
}

const (
	keyProduce      = 0
	keyOffsetCommit = 8
	keyLeaveGroup   = 13
)

// logged is a logger whose lines can be looked at.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// logger returns a logger that writes to l.
func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMain fails when the tests are over and goroutines of an app, a client or a broker are left. As a child of the test
// of kills it is the app that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		beKilled(dir)
	}
	code := m.Run()
	if left := leftGoroutines(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left after all tests:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines waits until no goroutine of this module or of kgo runs but the caller's, and returns the stacks of those
// that still do after the given time.
func leftGoroutines(patience time.Duration) string {
	deadline := time.Now().Add(patience)
	for {
		var left []string
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		for _, s := range stacks[1:] { // the first is the caller
			if strings.Contains(s, "tidings.dev") || strings.Contains(s, "franz-go") {
				left = append(left, s)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
