package story

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// shopStep is one event of the story of an order in a shopLog.
type shopStep struct {
	topic, typ, reaction string
	cause                int      // number of the step that has caused it; -1: it is the root
	handlers             []string // reactions that handle it
}

var shopSteps = []shopStep{
	{"orders", "shop.order.placed", "", -1, []string{"payment"}},
	{"payments", "payment.captured", "payment", 0, []string{"warehouse", "books", "mailer"}},
	{"shipping", "parcel.packed", "warehouse", 1, []string{"carrier", "mailer"}},
	{"invoices", "invoice.booked", "books", 1, nil},
	{"mails", "mail.sent", "mailer", 1, nil},
	{"shipping", "parcel.shipped", "carrier", 2, []string{"carrier", "mailer"}},
	{"mails", "mail.sent", "mailer", 5, nil},
}

const (
	shopPartitions = 4
	shopDelay      = 720 // orders that are placed between two steps of an order, so that they lie in different batches
	shopRound      = 100 // orders that are placed between two rounds of marks
)

// shopLog makes the log of a shop, in the order in which time passes: seven events a story, the marks of five reactions,
// and a story.settled for each story.
type shopLog struct {
	random *rand.Rand
	at     time.Time
	ends   map[partitionName]int64
	orders int                                 // that were placed
	ended  map[shopOrder][]obligation.Position // where the events of orders are that have not settled
	marks  map[shopCoverage]*obligation.Marks
	names  []shopCoverage // the keys of marks, in a fixed order
	events int
	batch  []*kgo.Record
}

type partitionName struct {
	topic     string
	partition int32
}

type shopCoverage struct {
	reaction string
	partitionName
}

// shopOrder is an order by its number; what it has follows from the number, so that a long log takes no memory.
type shopOrder uint64

func (o shopOrder) partition() int32 { return int32(mix(uint64(o), 1) % shopPartitions) }
func (o shopOrder) subject() string  { return "order/" + strconv.Itoa(1_000_000+int(o)) }
func (o shopOrder) trace() string    { return o.digits(100) }

// id returns the id of an event of the order: a UUID for the first one, and digits for those that follow from it.
func (o shopOrder) id(step int) string {
	id := o.digits(step)
	if step == 0 {
		return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	}
	return id
}

func (o shopOrder) digits(what int) string {
	return fmt.Sprintf("%016x%016x", mix(uint64(o), uint64(2*what)+1000), mix(uint64(o), uint64(2*what)+1001))
}

// shopTopic describes a topic, with an id.
func shopTopic(name string) logclient.Topic {
	t := logclient.Topic{Name: name, Partitions: shopPartitions}
	copy(t.ID[:], name)
	return t
}

func newShopLog() *shopLog {
	l := &shopLog{
		random: rand.New(rand.NewPCG(1, 2)), at: epoch,
		ends: make(map[partitionName]int64), marks: make(map[shopCoverage]*obligation.Marks),
		ended: make(map[shopOrder][]obligation.Position),
	}
	types := make(map[[2]string][]string)
	for _, s := range shopSteps {
		for _, reaction := range s.handlers {
			types[[2]string{reaction, s.topic}] = append(types[[2]string{reaction, s.topic}], s.typ)
			for p := range int32(shopPartitions) {
				c := shopCoverage{reaction, partitionName{s.topic, p}}
				if l.marks[c] == nil {
					l.names = append(l.names, c)
					l.marks[c] = &obligation.Marks{
						Reaction: reaction, Topic: s.topic, TopicID: shopTopic(s.topic).ID, Partition: p, Leader: new(int32),
					}
				}
			}
		}
	}
	for of, types := range types {
		l.fact(&obligation.Subscription{Reaction: of[0], Topic: of[1], Types: types, At: epoch})
	}
	return l
}

func (l *shopLog) append(r *kgo.Record) int64 {
	p := partitionName{r.Topic, r.Partition}
	r.Offset = l.ends[p]
	l.ends[p]++
	l.batch = append(l.batch, r)
	return r.Offset
}

func (l *shopLog) fact(f obligation.Fact) {
	l.append(&kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f), Timestamp: l.at})
}

// next places one more order, and takes the orders before it one step further.
func (l *shopLog) next() {
	l.at = l.at.Add(997 * time.Microsecond)
	l.orders++
	for i, s := range shopSteps {
		if n := l.orders - 1 - i*shopDelay; n >= 0 {
			l.step(shopOrder(n), i, s)
		}
	}
	if l.orders%shopRound == 0 {
		l.round()
	}
	if n := l.orders - 1 - len(shopSteps)*shopDelay; n >= 0 {
		o := shopOrder(n)
		l.fact(&obligation.Settled{
			Correlation: o.id(0), Root: o.id(0), Episode: 1, Events: len(shopSteps), Through: l.ended[o], At: l.at,
		})
		delete(l.ended, o)
	}
}

// step appends event i of an order, and notes it in the marks of those who handle it.
func (l *shopLog) step(o shopOrder, i int, s shopStep) {
	l.events++
	e := cloudevent.Event{
		ID: o.id(i), Type: s.typ, Source: "shop", Subject: o.subject(), Time: l.at, SchemaVersion: 1, Correlation: o.id(0), Reaction: s.reaction,
		TraceParent: "00-" + o.trace() + "-" + o.digits(200 + i)[:16] + "-01", ContentType: "application/json", Data: []byte(`{"no":1234567,"cents":4711}`),
	}
	if s.cause >= 0 {
		e.Causation, e.Source = o.id(s.cause), s.reaction
	}
	r := e.Record(s.topic)
	r.Key, r.Timestamp, r.Partition = []byte(o.subject()), l.at, o.partition()
	at := l.append(r)
	for _, reaction := range s.handlers {
		m := l.marks[shopCoverage{reaction, partitionName{s.topic, o.partition()}}]
		finished := l.at.Add(time.Duration(2000+l.random.IntN(5000)) * time.Microsecond)
		if len(m.Times) == 0 {
			m.Started, m.Position = l.at, at
		}
		m.Finished = finished
		m.Done = []offsets.Range{{Lo: m.Position, Hi: at + 1}}
		took := time.Duration(1000+l.random.IntN(1000)) * time.Microsecond
		m.Times = append(m.Times, obligation.Timing{Offset: at, Took: took, Finished: finished})
	}
	ended := l.ended[o]
	for p := range ended {
		if ended[p].Topic == s.topic {
			ended[p].Offset = at + 1
			return
		}
	}
	l.ended[o] = append(ended, obligation.Position{Topic: s.topic, TopicID: shopTopic(s.topic).ID, Partition: o.partition(), Offset: at + 1})
}

// round appends the marks of every reaction that has handled something.
func (l *shopLog) round() {
	for _, c := range l.names {
		m := l.marks[c]
		if len(m.Times) == 0 {
			continue
		}
		whole := *m
		whole.Position = m.Done[0].Hi
		whole.Emitted = m.Done
		for _, s := range shopSteps {
			if p := (partitionName{s.topic, c.partition}); s.reaction == c.reaction && l.ends[p] > 0 {
				whole.Through = append(whole.Through,
					obligation.Position{Topic: s.topic, TopicID: shopTopic(s.topic).ID, Partition: c.partition, Offset: l.ends[p]})
			}
		}
		l.fact(&whole)
		m.Times, m.Done = m.Times[:0], nil
	}
}

// take returns the next records, n or a few more, partition by partition as a client fetches them.
func (l *shopLog) take(n int) []*kgo.Record {
	for len(l.batch) < n {
		l.next()
	}
	records := l.batch
	l.batch = nil
	slices.SortStableFunc(records, func(a, b *kgo.Record) int {
		if a.Topic != b.Topic {
			return len(a.Topic)*256 + int(a.Topic[0]) - len(b.Topic)*256 - int(b.Topic[0])
		}
		return int(a.Partition - b.Partition)
	})
	return records
}

// BenchmarkApply applies the log of a shop to an empty index, 5,000 records at a time, and then asks for stories. It is run
// with -benchtime 1x.
//
//	events/s, cpu-µs/event    of Apply alone: 7 events lead to 1 story.settled and to marks of 7 handlings
//	tx-p50-ms, …-p99-ms, …    how long Apply takes: of a hundred transactions, and at most
//	bytes/event               of the index file
//	story-p50-µs, …-p99-µs    of Index.Story, by the id of an event, for a story that was chosen at random
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{200_000, 1_000_000, 2_000_000, 5_000_000} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			for b.Loop() {
				benchmarkApply(b, n)
			}
		})
	}
}

func benchmarkApply(b *testing.B, events int) {
	ix, l := openTest(b), newShopLog()
	topics := []logclient.Topic{shopTopic(obligation.SubscriptionsTopic), shopTopic(obligation.ReactionsTopic), shopTopic(obligation.StoryTopic)}
	for _, s := range shopSteps {
		topics = append(topics, shopTopic(s.topic))
	}
	if err := ix.setTopics(topics); err != nil {
		b.Fatal(err)
	}
	var wall, used time.Duration
	var each []time.Duration
	for l.events < events {
		records := l.take(5000)
		began, before := time.Now(), bench.SelfUsage().CPU
		if err := ix.Apply(records); err != nil {
			b.Fatal(err)
		}
		each = append(each, time.Since(began))
		wall, used = wall+each[len(each)-1], used+bench.SelfUsage().CPU-before
	}
	if s := ix.Stats(); s.Events != int64(l.events) || s.Settled == 0 {
		b.Fatalf("%+v, want %d events", s, l.events)
	}
	info, err := os.Stat(ix.path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(l.events)/wall.Seconds(), "events/s")
	b.ReportMetric(float64(used.Microseconds())/float64(l.events), "cpu-µs/event")
	b.ReportMetric(float64(info.Size())/float64(l.events), "bytes/event")
	slices.Sort(each)
	for name, tx := range map[string]int{"p50": len(each) / 2, "p99": len(each) * 99 / 100, "most": len(each) - 1} {
		b.ReportMetric(float64(each[tx].Microseconds())/1000, "tx-"+name+"-ms")
	}
	b.ReportMetric(float64(len(ix.runs.runs)), "runs")
	b.ReportMetric(0, "ns/op")
	var took []time.Duration
	for range 5000 {
		o := shopOrder(l.random.IntN(l.orders - len(shopSteps)*shopDelay))
		began := time.Now()
		s, err := ix.Story(o.id(l.random.IntN(len(shopSteps))), Live{})
		took = append(took, time.Since(began))
		if err != nil || s.Events != len(shopSteps) || s.Standing != StandingSettled {
			b.Fatalf("%+v, %v", s, err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "story-p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "story-p99-µs")
}
