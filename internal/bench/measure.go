package bench

import "time"

// Measured is the outcome of one run of one contender.
type Measured struct {
	Records int64 // acknowledged, or delivered, or synced; 0 where only bytes are counted
	Bytes   int64 // of keys and values; of all that came over the wire where nothing is decoded
	Elapsed time.Duration
	Latency *Histogram // nil where it has no meaning
	Ack     *Histogram // of e2e: how long acknowledgements took; nil otherwise
	Client  Usage      // this process, over Elapsed; with an in-process broker that includes it
	Server  *Usage     // the broker's process, over Elapsed; nil if it is not ours to ask

	Delivered int64      // of mixed: what the readers got meanwhile; 0 otherwise
	Series    []Measured // of mixed: the parts that follow each other in it; nil otherwise
}

// RecordsPerSecond is 0 for a run without time.
func (m Measured) RecordsPerSecond() float64 { return perSecond(m.Records, m.Elapsed) }

// BytesPerSecond is 0 for a run without time.
func (m Measured) BytesPerSecond() float64 { return perSecond(m.Bytes, m.Elapsed) }

// Quantile returns a latency in seconds; 0 where none was taken.
func (m Measured) Quantile(q float64) float64 {
	if m.Latency == nil {
		return 0
	}
	return m.Latency.Quantile(q).Seconds()
}

// Sum joins measures that were taken one after the other: what they did is added, latencies are merged, and the resident
// memory is the last one's, its peak the highest.
func Sum(parts []Measured) Measured {
	var sum Measured
	for _, m := range parts {
		sum.Records += m.Records
		sum.Bytes += m.Bytes
		sum.Elapsed += m.Elapsed
		sum.Delivered += m.Delivered
		if m.Latency != nil {
			if sum.Latency == nil {
				sum.Latency = &Histogram{}
			}
			sum.Latency.Merge(m.Latency)
		}
		sum.Client = sum.Client.and(m.Client)
		if m.Server != nil {
			var before Usage
			if sum.Server != nil {
				before = *sum.Server
			}
			both := before.and(*m.Server)
			sum.Server = &both
		}
	}
	return sum
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// meter takes the resources used between two moments.
type meter struct {
	endpoint Endpoint
	began    time.Time
	client   Usage
	server   *Usage
}

func startMeter(e Endpoint) *meter {
	return &meter{endpoint: e, server: e.usage(), client: SelfUsage(), began: time.Now()}
}

// stop fills in what a run used since startMeter.
func (t *meter) stop(m *Measured) {
	m.Elapsed = time.Since(t.began)
	m.Client = SelfUsage().since(t.client)
	if now := t.endpoint.usage(); now != nil && t.server != nil {
		used := now.since(*t.server)
		m.Server = &used
	}
}
