// Command cancellation runs the shop's cancellation service, which cancels orders whose payment was declined.
package main

import (
	"tidings.dev/examples/shop/cancellation"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("cancellation", "cancels orders whose payment was declined").React(cancellation.Register)
}
