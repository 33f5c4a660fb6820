package bench

import "time"

// Measured is the result of one run of one contender.
type Measured struct {
	Records int64 // records acknowledged, delivered or synced in the measured time; 0 if only bytes are counted
	Bytes   int64 // bytes of keys and values, or all bytes received if nothing is decoded
	Elapsed time.Duration
	Latency *Histogram // nil if it was not measured
	Ack     *Histogram // latency of acknowledgements, for EndToEnd; nil otherwise
	Client  Usage      // usage of this process during Elapsed; this includes a broker that runs in this process
	Server  *Usage     // usage of the broker's process during Elapsed; nil if it is not known

	// Figures are further figures by name, such as read_bytes_per_log_byte; nil if there are none. All rounds of a contender
	// have the same ones.
	Figures map[string]float64

	Delivered int64      // for Mixed, number of records that the consumers received; 0 otherwise
	Series    []Measured // for Mixed, the intervals in order; nil otherwise
}

// RecordsPerSecond returns Records per second of Elapsed, or 0 if Elapsed is 0.
func (m Measured) RecordsPerSecond() float64 { return perSecond(m.Records, m.Elapsed) }

// BytesPerSecond returns Bytes per second of Elapsed, or 0 if Elapsed is 0.
func (m Measured) BytesPerSecond() float64 { return perSecond(m.Bytes, m.Elapsed) }

// Quantile returns a quantile of the latency in seconds, or 0 if there is no latency. q must be in (0, 1].
func (m Measured) Quantile(q float64) float64 {
	if m.Latency == nil {
		return 0
	}
	return m.Latency.Quantile(q).Seconds()
}

// Sum combines measurements that were taken one after the other. Counts and times are added and latencies merged. The
// resident memory is that of the last measurement, and the peak is the highest of all.
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
		sum.Client = sum.Client.plus(m.Client)
		if m.Server != nil {
			var before Usage
			if sum.Server != nil {
				before = *sum.Server
			}
			both := before.plus(*m.Server)
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
