package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const mainPartitions = 4

// world is the clients of a broker that is killed and started again and again. They are stock Kafka clients, run all the
// time, and enter the answers into the ledger. Everything that idempotent producers send must be stored, once and in order.
type world struct {
	t      testing.TB
	seed   uint64
	book   *ledger
	listen *net.TCPListener
	addr   string
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup

	topic   atomic.Pointer[string] // where the producers produce now
	round   int                    // how many main topics there were
	flowing atomic.Int64           // records of idempotent producers that are under way
	pause   sync.RWMutex           // held to have the producers rest
	clients []*kgo.Client
}

func newWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, seed: seed, book: newLedger(), listen: l.(*net.TCPListener), addr: l.Addr().String()}
	w.ctx, w.stop = context.WithCancel(context.Background())
	t.Cleanup(w.end)
	return w
}

func (w *world) rng(who string) *rand.Rand {
	var sum uint64
	for _, b := range []byte(who) {
		sum = sum*31 + uint64(b)
	}
	return rand.New(rand.NewPCG(w.seed, sum))
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(quick(w.addr), opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.clients = append(w.clients, client)
	return client
}

// begin makes the first topics, on a running broker, and starts the clients.
func (w *world) begin() {
	admin := kadm.NewClient(w.client())
	w.nextTopic(admin)
	bytes, segment := "65536", "16384"
	w.makeTopic(admin, "short", 1, map[string]*string{"retention.bytes": &bytes, "segment.bytes": &segment})
	compact, ratio := "compact", "0.1"
	w.makeTopic(admin, "latest", 1, map[string]*string{"cleanup.policy": &compact, "segment.bytes": &segment, "min.cleanable.dirty.ratio": &ratio})
	w.book.shrinking["short"], w.book.compacted["latest"] = true, true
	for _, who := range []string{"i1", "i2"} {
		client := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(64))
		w.wg.Go(func() { w.idempotent(client, who) })
	}
	plain := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.DisableIdempotentWrite(),
		kgo.RecordRetries(0), kgo.UnknownTopicRetries(0))
	w.wg.Go(func() { w.plain(plain, "p1") })
	reader := w.client(kgo.ConsumerGroup("readers"), kgo.ConsumeRegex(), kgo.ConsumeTopics("^main-"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond), kgo.HeartbeatInterval(200*time.Millisecond))
	w.wg.Go(func() { w.read(reader, "readers") })
	commits := kadm.NewClient(w.client())
	w.wg.Go(func() { w.commit(commits, "positions") })
	topics := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	w.wg.Go(func() { w.changeTopics(topics) })
	ids := w.client()
	w.wg.Go(func() { w.takeIDs(ids) })
}

// end closes the clients; with a running broker that is faster.
func (w *world) end() {
	if w.ctx.Err() != nil {
		return
	}
	w.stop()
	for _, c := range w.clients {
		c.Close()
	}
	w.wg.Wait()
	w.listen.Close()
}

// makeTopic tries until the broker has answered, and reports whether the topic was made.
func (w *world) makeTopic(admin *kadm.Client, name string, partitions int32, configs map[string]*string) bool {
	for w.ctx.Err() == nil {
		_, err := admin.CreateTopic(w.ctx, partitions, 1, configs, name)
		switch {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists): // it had come through before the broker died
			w.book.topicMade(name, partitions)
			return true
		case isAnswer(err):
			w.book.broke("I8: topic %s can't be made: %v", name, err)
			return false
		}
	}
	return false
}

func (w *world) dropTopic(admin *kadm.Client, name string) {
	w.book.topicGoing(name)
	for w.ctx.Err() == nil {
		_, err := admin.DeleteTopic(w.ctx, name)
		switch {
		case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
			w.book.topicGone(name)
			return
		case isAnswer(err):
			w.book.broke("I8: topic %s can't be deleted: %v", name, err)
			return
		}
	}
}

// isAnswer reports whether an error is an answer of the broker, and not one that goes away when it is tried again.
func isAnswer(err error) bool {
	answer, ok := errors.AsType[*kerr.Error](err)
	return ok && !answer.Retriable
}

// nextTopic makes a new topic for the producers; the one before stays, and the one before that is deleted.
func (w *world) nextTopic(admin *kadm.Client) {
	w.pause.Lock()
	defer w.pause.Unlock()
	name := fmt.Sprintf("main-%d", w.round)
	w.makeTopic(admin, name, mainPartitions, nil)
	w.topic.Store(&name)
	if w.round >= 2 {
		w.dropTopic(admin, fmt.Sprintf("main-%d", w.round-2))
	}
	w.round++
}

// idempotent sends to all partitions, with many records under way. None may fail.
func (w *world) idempotent(client *kgo.Client, who string) {
	rng := w.rng(who)
	window := make(chan struct{}, 40)
	for w.ctx.Err() == nil {
		w.pause.RLock()
		topic := *w.topic.Load()
		for range 1 + rng.IntN(8) {
			p := topicPartition{topic, int32(rng.IntN(mainPartitions))}
			select {
			case window <- struct{}{}:
			case <-w.ctx.Done():
				w.pause.RUnlock()
				return
			}
			value := w.book.next(fmt.Sprintf("%s-%v", who, p))
			w.flowing.Add(1)
			client.Produce(w.ctx, &kgo.Record{Topic: p.topic, Partition: p.partition, Value: []byte(value)}, func(r *kgo.Record, err error) {
				switch {
				case err == nil:
					w.book.recordAcked(p, r.Offset, value)
				case w.ctx.Err() == nil:
					w.book.broke("I4: an idempotent producer was refused %q: %v", value, err)
				}
				w.flowing.Add(-1)
				<-window
			})
		}
		w.pause.RUnlock()
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
	}
}

// plain sends each record once, whatever the answer; it shares the first partition, and has one with retention and one with
// compaction to itself.
func (w *world) plain(client *kgo.Client, who string) {
	rng := w.rng(who)
	padding := make([]byte, 200)
	for i := 0; w.ctx.Err() == nil; i++ {
		w.pause.RLock()
		p := topicPartition{*w.topic.Load(), 0}
		switch i % 3 {
		case 0:
			p = topicPartition{"short", 0}
		case 1:
			p = topicPartition{"latest", 0}
		}
		key := fmt.Sprintf("%s-%v", who, p)
		if p.topic == "latest" {
			key = fmt.Sprintf("%s-key%d", who, rng.IntN(5))
		}
		value := w.book.next(key)
		r := &kgo.Record{Topic: p.topic, Partition: p.partition, Key: []byte(key), Value: []byte(value),
			Headers: []kgo.RecordHeader{{Key: "padding", Value: padding}}}
		if err := client.ProduceSync(w.ctx, r).FirstErr(); err == nil {
			w.book.recordAcked(p, r.Offset, value)
		}
		w.pause.RUnlock()
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
	}
}

// read is a member of a group: it enters the records that it receives into the ledger and commits them.
func (w *world) read(client *kgo.Client, group string) {
	for w.ctx.Err() == nil {
		fetches := client.PollFetches(w.ctx)
		asked := map[topicPartition]int64{}
		fetches.EachRecord(func(r *kgo.Record) {
			p := topicPartition{r.Topic, r.Partition}
			w.book.recordShown(p, r.Offset, string(r.Value))
			w.book.commitAsked(position{group, p}, r.Offset+1)
			asked[p] = r.Offset + 1
		})
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		err := client.CommitRecords(ctx, fetches.Records()...)
		cancel()
		if err != nil {
			continue // of a rebalance, or the broker's death: it comes with the next
		}
		for p, offset := range asked {
			w.book.commitAcked(position{group, p}, offset)
		}
	}
}

// commit moves positions of groups without members forward, a few steps of one group and then of the next, so that the last
// commit of most groups was answered by a broker that has been killed since. With one group only, its next commit would hide
// that the one before was lost.
func (w *world) commit(admin *kadm.Client, who string) {
	const groups, steps = 24, 8
	rng := w.rng(who)
	for offset := int64(1); w.ctx.Err() == nil; offset++ {
		group := fmt.Sprintf("%s-%d", who, offset/steps%groups)
		offsets := kadm.Offsets{}
		p := topicPartition{"short", 0}
		offsets.Add(kadm.Offset{Topic: p.topic, Partition: p.partition, At: offset, LeaderEpoch: -1})
		w.book.commitAsked(position{group, p}, offset)
		answered, err := admin.CommitOffsets(w.ctx, group, offsets)
		if err == nil && answered.Error() == nil {
			w.book.commitAcked(position{group, p}, offset)
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
	}
}

// changeTopics makes topics, appends to them, and deletes them.
func (w *world) changeTopics(client *kgo.Client) {
	admin := kadm.NewClient(client)
	for i := 0; w.ctx.Err() == nil; i++ {
		p := topicPartition{fmt.Sprintf("brief-%d", i), 0}
		if !w.makeTopic(admin, p.topic, 1, nil) {
			return
		}
		value := w.book.next("i3-" + p.topic)
		r := &kgo.Record{Topic: p.topic, Value: []byte(value)}
		if err := client.ProduceSync(w.ctx, r).FirstErr(); err == nil {
			w.book.recordAcked(p, r.Offset, value)
		} else if w.ctx.Err() == nil {
			w.book.broke("I4: an idempotent producer was refused %q: %v", value, err)
		}
		if i >= 3 {
			w.dropTopic(admin, fmt.Sprintf("brief-%d", i-3))
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// takeIDs asks for producer ids, of which none may come twice.
func (w *world) takeIDs(client *kgo.Client) {
	for w.ctx.Err() == nil {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = 1000
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(w.ctx, client)
		if err == nil && resp.ErrorCode == 0 {
			w.book.producerMade(resp.ProducerID)
		}
		time.Sleep(time.Millisecond)
	}
}

// settle pauses the idempotent producers until all that they sent is acknowledged; it returns false if that takes too long.
func (w *world) settle() bool {
	w.pause.Lock()
	defer w.pause.Unlock()
	for until := time.Now().Add(patience); w.flowing.Load() > 0; {
		if time.Now().After(until) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// audit compares the running broker with the ledger. An error means that it could not, because the broker has ended.
func (w *world) audit(ctx context.Context, all bool) ([]string, error) {
	from, err := newKafkaLog(ctx, w.addr)
	if err != nil {
		return nil, err
	}
	defer from.client.Close()
	return w.book.audit(from, all)
}
