// Command cancellation runs the shop's cancellation service: calls off orders whose payment was declined.
package main

import (
	"tidings.dev/examples/shop/cancellation"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("cancellation", "calls off orders whose payment was declined").React(cancellation.Register)
}
