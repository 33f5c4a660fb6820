package tidings

import (
	"strconv"
	"sync"
)

// instances are the names in use of the instances in this process.
var instances = instanceNames{taken: make(map[string]bool)}

// instanceNames gives out names that come back after a restart: the first app of a name is always number 1.
type instanceNames struct {
	mu    sync.Mutex
	taken map[string]bool
}

// take gives the first free name of a family, and how to give it back.
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
