package bench

import (
	"runtime/metrics"
	"time"
)

// Usage is the resources that a process has used, since it began or between two times.
type Usage struct {
	CPU          time.Duration // user and system time
	Allocs       int64         // objects allocated; 0 for another process, whose allocations are not known
	AllocBytes   int64         // bytes allocated; 0 for another process
	RSSBytes     int64         // resident memory at the end of the period; 0 if the system does not report it
	PeakRSSBytes int64         // highest resident memory since the process began; 0 if the system does not report it
}

// since returns what was used between earlier and u.
func (u Usage) since(earlier Usage) Usage {
	u.CPU -= earlier.CPU
	u.Allocs -= earlier.Allocs
	u.AllocBytes -= earlier.AllocBytes
	return u
}

// plus returns the usage of two periods together. later must be the second of them.
func (u Usage) plus(later Usage) Usage {
	return Usage{
		CPU: u.CPU + later.CPU, Allocs: u.Allocs + later.Allocs, AllocBytes: u.AllocBytes + later.AllocBytes,
		RSSBytes: later.RSSBytes, PeakRSSBytes: max(u.PeakRSSBytes, later.PeakRSSBytes),
	}
}

// SelfUsage returns the usage of this process since it began.
func SelfUsage() Usage {
	u := ownUsage()
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	u.Allocs, u.AllocBytes = int64(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64())
	return u
}
