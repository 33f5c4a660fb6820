package logclient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/logclient"
)

// network is the connections to a broker in memory.
type network struct {
	broker *broker.Broker
	down   atomic.Bool  // nothing can be dialled
	dialed sync.Map     // the connections
	pause  sync.RWMutex // answers of the broker do not arrive while it is locked
}

// client returns a client that reaches the broker over the network.
func (n *network) client(t *testing.T) *logclient.Client {
	t.Helper()
	c, err := logclient.New(logclient.Config{
		Addresses: []string{"tidings:9092"}, Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if n.down.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
			}
			conn, err := n.broker.Dial(ctx)
			if err != nil {
				return nil, err
			}
			paused := &pausedConn{Conn: conn, n: n}
			n.dialed.Store(paused, true)
			return paused, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// pausedConn is a connection over a network.
type pausedConn struct {
	net.Conn
	n   *network
	cut atomic.Bool // what was not read yet is lost
}

func (c *pausedConn) Read(b []byte) (int, error) {
	read, err := c.Conn.Read(b)
	c.n.pause.RLock()
	defer c.n.pause.RUnlock()
	if c.cut.Load() {
		return 0, net.ErrClosed
	}
	return read, err
}

// cut breaks all connections.
func (n *network) cut() {
	for conn := range n.dialed.Range {
		conn.(*pausedConn).cut.Store(true)
		conn.(*pausedConn).Close()
	}
}

// connect returns the network of a new broker.
func connect(t *testing.T) *network {
	t.Helper()
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &network{broker: b}
}

// logged returns the values on the first partition of a topic, without those that are there for the second time.
func logged(t *testing.T, c *logclient.Client, topic string) []string {
	t.Helper()
	var values []string
	seen := make(map[string]bool)
	for r, err := range c.ReadAll(t.Context(), topic, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if value := string(r.Value); !seen[value] {
			seen[value] = true
			values = append(values, value)
		}
	}
	return values
}

// kgo gives up three records, since the time of the first is over, and says so one record after the other. A record that
// is produced when the first answer has come, and kgo has not yet given back the other two, is in the log behind them.
func TestARecordDoesNotOvertakeThoseGivenBack(t *testing.T) {
	n := connect(t)
	c := n.client(t)
	c.Declare("orders", 1, nil)
	if _, err := c.Topic(t.Context(), "orders"); err != nil { // over the connection to the first address, which stays
		t.Fatal(err)
	}
	n.down.Store(true)
	record := func(value string) *kgo.Record {
		return &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(value)}
	}
	answers := make(chan error, 4)
	later := func(err error) { answers <- err }
	produce := func(timeout time.Duration, value string, done func(error)) {
		if err := c.ProduceWithin(t.Context(), timeout, record(value), done); err != nil {
			t.Error(err)
		}
	}
	produce(time.Second, "1", func(err error) {
		if e, ok := errors.AsType[*logclient.Unacknowledged](err); !ok || e.MayBeInLog {
			t.Errorf("the first: %v", err)
		}
		n.down.Store(false)
		if err := c.Produce(context.Background(), record("4"), later); err != nil {
			t.Error(err)
		}
	})
	produce(time.Minute, "2", later)
	if err := c.Produce(t.Context(), record("3"), later); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(logged(t, c, "orders"), " "); got != "2 3 4" {
		t.Errorf("in the log: %s", got)
	}
}

// The answers of the broker stop for about as long as the timeout, again and again. What is acknowledged to one producer
// is in the log in the order of the calls, what
// is said not to be in the log is not there, and all are answered once.
func TestTheOrderIsKeptThroughPauses(t *testing.T) {
	const timeout, rounds, producers = 400 * time.Millisecond, 5, 2
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			n := connect(t)
			c := n.client(t)
			c.Declare("orders", 1, nil)
			stop := make(chan struct{})
			var producing, answers sync.WaitGroup
			var mu sync.Mutex // protects the rest
			results := make(map[string]error)
			given := make([]int, producers)
			for p := range producers {
				producing.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							given[p] = i
							return
						case <-time.After(100 * time.Microsecond):
						}
						value := fmt.Sprint(p, " ", i)
						answers.Add(1)
						done := func(err error) {
							mu.Lock()
							defer mu.Unlock()
							if _, ok := results[value]; ok {
								t.Errorf("%s was answered twice", value)
							}
							results[value] = err
							answers.Done()
						}
						err := c.ProduceWithin(t.Context(), timeout, &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(value)}, done)
						if err != nil {
							done(err)
						}
					}
				})
			}
			for range rounds {
				time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
				n.pause.Lock()
				time.Sleep(timeout*3/4 + time.Duration(rng.IntN(100))*time.Millisecond)
				n.pause.Unlock()
				time.Sleep(timeout / 4)
			}
			close(stop)
			producing.Wait()
			answers.Wait()
			last := make([]int, producers)
			inLog := make(map[string]bool)
			for _, value := range logged(t, c, "orders") {
				inLog[value] = true
				if results[value] != nil {
					continue
				}
				p, _ := strconv.Atoi(value[:1])
				i, _ := strconv.Atoi(value[2:])
				if i < last[p] {
					t.Errorf("%d of producer %d is in the log behind %d", i, p, last[p])
				}
				last[p] = i
			}
			counts := make(map[string]int)
			for value, err := range results {
				switch e, ok := errors.AsType[*logclient.Unacknowledged](err); {
				case err == nil && !inLog[value]:
					t.Errorf("%s was acknowledged and is not in the log", value)
				case err == nil:
					counts["acknowledged"]++
				case !ok:
					t.Errorf("%s: %v", value, err)
				case e.MayBeInLog:
					counts["may be in the log"]++
				case inLog[value]:
					t.Errorf("%s is in the log, and was said not to be: %v", value, err)
				default:
					counts["not in the log"]++
				}
			}
			t.Log(counts)
			if len(results) != given[0]+given[1] {
				t.Errorf("%d answers to %v records", len(results), given)
			}
		})
	}
}

// A topic is deleted while much is on its way to it, and again. What of it comes to the last topic of the name is in the
// order of the calls.
func TestTheOrderIsKeptWhenTheTopicIsDeleted(t *testing.T) {
	n := connect(t)
	c := n.client(t)
	c.Declare("orders", 1, nil)
	stop := make(chan struct{})
	var producing, answers sync.WaitGroup
	var failed, acknowledged atomic.Int64
	producing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
			}
			answers.Add(1)
			done := func(err error) {
				if err != nil { // the topic was deleted while it was being made, for example
					failed.Add(1)
				} else {
					acknowledged.Add(1)
				}
				answers.Done()
			}
			if err := c.ProduceWithin(t.Context(), time.Minute, &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(strconv.Itoa(i))}, done); err != nil {
				done(err)
			}
		}
	})
	for range 5 {
		for before := acknowledged.Load(); acknowledged.Load() < before+200; { // until it was made again
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := kadm.NewClient(c.Client()).DeleteTopic(t.Context(), "orders"); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Error(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	producing.Wait()
	answers.Wait()
	last, values := -1, logged(t, c, "orders")
	for _, value := range values {
		i, _ := strconv.Atoi(value)
		if i < last {
			t.Errorf("%d is in the log behind %d", i, last)
		}
		last = i
	}
	t.Log(len(values), "in the log;", failed.Load(), "failed")
	if len(values) == 0 {
		t.Error("nothing is in the log")
	}
}

// A connection breaks before a record is acknowledged, and the topic is deleted before there is another connection. kgo cannot tell whether
// the record was taken, and keeps it. The topic must be made again, and take what is produced later, whether the first record has a
// timeout or not.
func TestATopicThatIsDeletedInAnOutageIsMadeAgain(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"with a timeout": 500 * time.Millisecond, "without a timeout": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := connect(t)
			c := n.client(t)
			c.Declare("orders", 1, nil)
			record := func(value string) *kgo.Record {
				return &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(value)}
			}
			if err := c.ProduceSyncWithin(t.Context(), time.Minute, record("first")); err != nil {
				t.Fatal(err)
			}
			n.pause.Lock()
			lost := make(chan error, 1)
			if err := c.ProduceWithin(t.Context(), timeout, record("lost"), func(err error) { lost <- err }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // until the broker has it
			n.down.Store(true)
			n.cut()
			n.pause.Unlock()
			admin := (&network{broker: n.broker}).client(t)
			if _, err := kadm.NewClient(admin.Client()).DeleteTopic(t.Context(), "orders"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(700 * time.Millisecond)
			n.down.Store(false)
			for deadline := time.Now().Add(15 * time.Second); ; {
				err := c.ProduceSyncWithin(t.Context(), time.Second, record("later"))
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			switch err := <-lost; {
			case timeout == 0 && err != nil:
				t.Error(err)
			case timeout > 0 && err == nil:
				t.Error("the record is said to be in the log, after its timeout")
			}
		})
	}
}
