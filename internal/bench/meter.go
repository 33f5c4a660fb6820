package bench

import "time"

// meter measures the time and the resource usage between startMeter and stop.
type meter struct {
	endpoint Endpoint
	began    time.Time
	client   Usage
	server   *Usage // nil if the broker's process is not known
}

func startMeter(e Endpoint) *meter {
	return &meter{endpoint: e, server: e.usage(), client: SelfUsage(), began: time.Now()}
}

// stop sets m.Elapsed, m.Client and m.Server to what was used since startMeter.
func (t *meter) stop(m *Measured) {
	m.Elapsed = time.Since(t.began)
	m.Client = SelfUsage().since(t.client)
	if now := t.endpoint.usage(); now != nil && t.server != nil {
		used := now.since(*t.server)
		m.Server = &used
	}
}
