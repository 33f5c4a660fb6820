// Command loyalty runs the shop's loyalty service, which gives points for orders and takes them back.
package main

import (
	"tidings.dev/examples/shop/loyalty"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("loyalty", "gives points, and takes them back").React(loyalty.Register)
}
