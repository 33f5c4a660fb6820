package tidings

import (
	"strconv"
	"sync"
)

// instances has the names of the instances that run in this process.
var instances = instanceNames{taken: make(map[string]bool)}

// instanceNames assigns names to the app instances of a process: "family.1" to the first open app of a family,
// "family.2" to the second, and so on. A process that is started again and opens its apps in the same order assigns
// the same names, so that its instances get back their partitions at once.
type instanceNames struct {
	mu    sync.Mutex // protects taken
	taken map[string]bool
}

// take returns the first free name of a family. The caller calls release when the instance has ended, which makes the
// name free again.
func (n *instanceNames) take(family string) (name string, release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := 1; ; i++ {
		name = family + "." + strconv.Itoa(i)
		if !n.taken[name] {
			break
		}
	}
	n.taken[name] = true
	return name, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.taken, name)
	}
}
