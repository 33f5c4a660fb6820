package logclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says where the log is and how a Client uses it.
type Config struct {
	// Addresses are the brokers that the client asks first for the rest of the cluster, as "host:port" or "host".
	Addresses []string
	// Dial opens one network connection to a broker; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ClientID is the name by which the brokers know the client.
	ClientID string
	// ConnectTimeout bounds how long Reach, Topic, Starts, Ends and After wait for the log; 0 means 10 seconds.
	ConnectTimeout time.Duration
	// Logger receives a line when the log cannot be reached any more, and one when it answers again; nil means
	// slog.Default().
	Logger *slog.Logger
	// ClientLogger receives the log lines of the client's own kgo client and of those made with the options of Kgo;
	// nil means that they do not log.
	ClientLogger kgo.Logger
	// Options are further options of the client's own kgo client, such as those that make it a consumer. They override
	// the options that the package sets.
	Options []kgo.Opt
}

const defaultConnectTimeout = 10 * time.Second

// metadataMinAge is the shortest time between two requests of a kgo client for metadata. It is short so that a topic
// can be used as soon as it was made. It is also the pause between attempts to reach the log.
const metadataMinAge = 100 * time.Millisecond

// retryBackoff returns how long a kgo client waits after so many attempts of a request that have failed. It is at most about a second, in
// place of kgo's five, so that whatever waits for the log goes on soon after the log is back.
func retryBackoff(failed int) time.Duration {
	longest := 50 * time.Millisecond << min(failed, 4)
	return longest + rand.N(longest/4)
}

// partitioner chooses the partition of a record by the murmur2 hash of its key, as all Kafka clients do by default.
// Records without a key stay on one partition until a batch is sent.
var partitioner = kgo.StickyKeyPartitioner(nil)

// Client appends records to a log, and reads topics, offsets and records from it. It has a kgo client of its own. Its
// methods are safe for concurrent use. The caller of New closes it.
type Client struct {
	config  Config
	kgo     *kgo.Client
	adm     *kadm.Client // uses kgo
	outage  *outage
	passing *passing
	topics  *topicTable
	acked   *acknowledged
	lost    <-chan struct{} // of a client of Bound, closed when the log has lost something; nil otherwise
	slots   chan struct{}   // has one value for each record that is on its way: see delivery

	deadlines deadlines // contexts with the deadlines of records
	sequences sequences // keep the order of records
	expiries  expiries  // ends records whose timeouts are over
	probe     probe
	pings     pings
	resending resending
	stuck     inquiries // about topics to which nothing is acknowledged

	// producers has the kgo clients that append to topics that were restarted, by topic; nil if there are none. The map is not
	// changed: renew stores another one.
	producers atomic.Pointer[map[string]producer]

	life context.Context
	end  context.CancelFunc // ends life

	// restarting is held by restart, so that there is one restart at a time. It protects no field. It is locked before
	// mu.
	restarting sync.Mutex

	mu      sync.Mutex     // protects the fields below
	bound   *Client        // the client that Bound returns; nil if there is none
	applied map[string]int // the limits that kgo was given, by topic: see limit

	// restarted has, by topic, the time when kgo was last made to begin anew with the topic. While restart does that,
	// the time is in the future.
	restarted map[string]time.Time
}

// New returns a client. It does not connect to the log. It returns an error if an option is not valid.
func New(config Config) (*Client, error) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultConnectTimeout
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return newClient(config, &Client{outage: &outage{log: config.Logger}, passing: newPassing(config.Logger), topics: newTopicTable(), acked: newAcknowledged(config.Logger)})
}

// newClient returns a client that shares with another one what it knows of the log's state.
func newClient(config Config, with *Client) (*Client, error) {
	c := &Client{
		config:    config,
		outage:    with.outage,
		passing:   with.passing,
		topics:    with.topics,
		acked:     with.acked,
		slots:     make(chan struct{}, maxBufferedRecords),
		applied:   make(map[string]int),
		restarted: make(map[string]time.Time),
	}
	c.life, c.end = context.WithCancel(context.Background())
	var err error
	if c.kgo, err = kgo.NewClient(append(c.producing(), config.Options...)...); err != nil {
		c.end()
		return nil, err
	}
	c.adm = kadm.NewClient(c.kgo)
	return c, nil
}

// producing returns the options of kgo clients that append records.
func (c *Client) producing() []kgo.Opt {
	return c.Kgo(
		kgo.ProducerLinger(0), // a record that a caller waits for is sent at once
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(partitioner),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytesFn(c.applyLimit),
		kgo.MaxBufferedRecords(2*maxBufferedRecords), // never reached, because there are fewer slots
	)
}

// Dialing returns the options with which a kgo client reaches a log: the addresses of the brokers to ask first, and
// the function that opens a connection; nil means TCP.
func Dialing(addresses []string, dial func(ctx context.Context, network, address string) (net.Conn, error)) []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(addresses...)}
	if dial != nil {
		opts = append(opts, kgo.Dialer(dial))
	}
	return opts
}

// Kgo returns the options for another kgo client of the same log, followed by more, which override them. The caller
// closes that client before this one. Both clients count as one where outages are logged.
func (c *Client) Kgo(more ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{kgo.ClientID(c.config.ClientID), kgo.MetadataMinAge(metadataMinAge), kgo.RetryBackoffFn(retryBackoff), kgo.WithHooks(c.outage, c.passing),
		kgo.WithDecompressor(c.passing)}
	if c.config.ClientLogger != nil {
		opts = append(opts, kgo.WithLogger(c.config.ClientLogger))
	}
	opts = append(opts, kgo.WithContext(c.life)) // ends what waits for a broker that does not answer
	return slices.Concat(Dialing(c.config.Addresses, c.dial), opts, more)
}

// Client returns the client's own kgo client, for requests, and for reading if Config.Options made it a consumer. Do
// not append records with it, since Produce bounds the number of records on their way. The caller must not close it.
func (c *Client) Client() *kgo.Client { return c.kgo }

// Reach blocks until the log answers, at most for the connect timeout. Errors match ErrUnreachable, or ErrClosed once
// Life has ended, or are ctx's error if ctx was cancelled.
func (c *Client) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.ConnectTimeout)
	defer cancel()
	for {
		if c.life.Err() != nil {
			return ErrClosed
		}
		err := c.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(metadataMinAge):
		case <-c.life.Done(): // a kgo client that is closed says that its connections have died
			return ErrClosed
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%w at %v within %v: %w", ErrUnreachable, c.config.Addresses, c.config.ConnectTimeout, err)
		}
	}
}

// Life returns a context that ends with Abort or Close. Code that waits for the log must also stop waiting when it
// ends.
func (c *Client) Life() context.Context { return c.life }

// Abort ends Life. Records that are on their way stay on their way until Close.
func (c *Client) Abort() { c.end() }

// Close ends Life and closes the connections. Records that are on their way fail with ErrClosed, and so does every
// later call that needs the log. Close may be called again.
func (c *Client) Close() {
	c.end()
	c.mu.Lock()
	bound := c.bound
	c.mu.Unlock()
	if bound != nil {
		bound.Close()
	}
	c.kgo.Close()
	c.closeProducers()
}
